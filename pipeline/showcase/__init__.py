"""The stage that segments the user's own showcase images with the best run; the report begins with them."""
