"""Masks of pictures from anywhere, by a trained run: `pipeline predict`."""
