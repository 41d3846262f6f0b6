"""Throughput of other trainers with the same networks and images, with one module per trainer."""
