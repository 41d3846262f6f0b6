"""The stage `prepare`: convert the images and masks of a source to arrays that all runs use."""
