"""The command `pipeline promote`: register a run's model in MLflow, to be served without this project's code."""
