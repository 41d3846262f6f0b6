"""Version of the format of all files in the artifact folders."""

FORMAT = 7  # increase it if the meaning of a file changes; every stage in dvc.yaml depends on this file
