"""Volumes and stacks: files whose slices are images."""
