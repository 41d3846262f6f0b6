"""From an image file to the array a network expects, and from its output back to the image's size."""
