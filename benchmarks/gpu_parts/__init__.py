"""The parts of `benchmarks.gpu`; each is run in its own process."""
