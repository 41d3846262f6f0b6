"""Statistics of runs: scores, baselines, gaps, intervals, onsets, verdicts, seeds (numpy, scipy, pandas only)."""
