"""Figures of the sections: matplotlib figures as inline SVG, images and masks as data URIs."""
