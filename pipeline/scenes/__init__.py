"""Scenes: GeoTIFFs of any size, whose tiles are images, and vector layers that are drawn into masks."""
