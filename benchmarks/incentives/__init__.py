"""What the rule of pay pays to whom, measured on real learning: python -m benchmarks.incentives."""
