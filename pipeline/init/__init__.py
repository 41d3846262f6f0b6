"""A section `data` for a folder that nobody has described yet, proposed from what lies in it."""
