"""`pipeline judge`: a verdict on the curves of any training, whatever tool wrote them; no torch, MLflow or pandas."""
