"""Which image stands in which split."""
