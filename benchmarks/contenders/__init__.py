"""What the benchmarks compare: one module per contender."""
