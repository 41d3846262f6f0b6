"""Library: what a running command needs, such as signals, child processes, locks, the status of stages and progress."""
