"""The command `pipeline promote`: register a run's model in MLflow, ready to be served without this project."""
