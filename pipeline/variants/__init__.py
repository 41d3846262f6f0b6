"""Checks of variants' networks, their complexity, and the table of `pipeline variants`."""
