"""What the sections draw: matplotlib figures as inline SVG, photographs and masks as small images."""
