"""The page on which users look at their images and masks before training."""
