"""Exit codes in addition to click's: 1 is an error, 2 a usage error."""

CONDITION_HOLDS = 3  # of an option with which CI rejects results: --fail-on, --fail-on-regression
