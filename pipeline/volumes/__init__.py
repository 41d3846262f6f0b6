"""Volumes and stacks: files and folders whose slices are images."""
