"""Benchmarks: what README's tables are made from. bench/README.md says how to run them."""
