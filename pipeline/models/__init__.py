"""Library: this project's U-Net, the other network families, pretrained weights, and losses."""
