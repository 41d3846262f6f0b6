"""Utilities for running commands: signals, child processes, locks, the status of stages, and progress bars."""
