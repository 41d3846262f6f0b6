"""The command `pipeline study`: create a study from a preset, in its own folder and with its own DVC pipeline."""
