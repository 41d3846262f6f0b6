"""`pipeline judge`: a verdict on the loss curves of any training, from any tool; imports no torch, MLflow or pandas."""
