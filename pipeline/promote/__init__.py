"""A run's model taken into use: registered in MLflow, with all that it needs and nothing of its training."""
