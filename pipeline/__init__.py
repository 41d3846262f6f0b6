"""Train U-Nets at several learning rates, and report which learn best and which memorize their training images."""
