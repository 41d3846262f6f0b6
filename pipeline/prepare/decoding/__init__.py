"""Pictures read, checked and made to fit, side by side and from a cache."""
