"""Assignment of images to splits and groups."""
