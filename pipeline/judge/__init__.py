"""The command `pipeline judge`: judge loss curves of any training tool. It imports no torch, MLflow or pandas."""
