"""Library, numpy and pandas only: scores of a confusion table, the baseline, comparisons over seeds."""
