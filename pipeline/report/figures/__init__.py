"""Figures of the report: matplotlib figures as inline SVG, images and masks as data URIs."""
