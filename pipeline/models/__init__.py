"""Library: the U-Net of this project, the other families (a file each), pretrained weights, losses, inference."""
