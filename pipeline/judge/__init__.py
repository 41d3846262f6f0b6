"""The command `pipeline judge`: judge loss curves of any training tool. It does not import torch, MLflow or pandas."""
