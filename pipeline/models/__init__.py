"""Library: the U-Net of this project, the other families of networks, pretrained weights, and losses."""
