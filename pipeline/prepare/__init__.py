"""The stage `prepare`: images and masks of a source as arrays that all runs use."""
