"""Library, numpy, scipy and pandas only: scores, baseline, gaps, onsets, verdicts, intervals, and seeds compared."""
