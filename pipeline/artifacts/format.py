"""Version of the files in the artifact folders."""

FORMAT = 4  # increase it if the meaning of a file changes: dvc.yaml makes every stage depend on it
