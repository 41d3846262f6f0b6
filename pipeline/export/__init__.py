"""The command `pipeline export`: write a run's model as a file, without MLflow."""
