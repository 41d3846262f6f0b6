"""Ready studies: a parameter set laid over `params.yaml` becomes a DVC pipeline in a folder of its own."""
