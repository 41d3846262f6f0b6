"""MLflow as a mirror of the run folders: the files are the truth, and no fault of a server costs a training."""
