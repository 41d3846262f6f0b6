"""The command `pipeline weights`: list, fetch and add weights that networks start from."""
