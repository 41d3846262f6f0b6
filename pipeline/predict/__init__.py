"""The command `pipeline predict`: segment images with a trained run."""
