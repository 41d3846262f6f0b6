"""The command `pipeline lr-find`: suggest learning rates from a range test, without writing a run."""

# Defined here so that the help text can show the values without importing torch.
LOWEST, HIGHEST = 1e-6, 1.0  # range of the learning rate
STEPS = 240  # optimizer steps, 40 for each power of ten
