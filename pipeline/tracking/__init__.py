"""MLflow as a view of the run folders: the files are the truth, and no failure of a server stops a run."""
