"""Read loss curves that other tools wrote, and tables of external results. Imports neither torch nor pandas.

`formats.py` lists the formats. The reader of a format returns the values that a tool logged, `losses.py` selects the
training and validation losses among them, and `pairing.py` pairs both by epoch.
"""
