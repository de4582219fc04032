"""The round of `benchmarks.round` as a Flower app."""
