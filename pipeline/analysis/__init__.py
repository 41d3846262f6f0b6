"""Statistics of runs: scores, baselines, gaps, onsets, verdicts and seeds. Imports only numpy, scipy and pandas."""
