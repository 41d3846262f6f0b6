"""`pipeline report --against`: what changed between another grid's results and the current ones."""
