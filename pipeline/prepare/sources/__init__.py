"""Sources of prepared data."""
