"""A module a source, and what those of pictures have in common."""
