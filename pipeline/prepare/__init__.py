"""The `prepare` stage: convert a source's images and masks to arrays that all runs use."""
