"""Launches whose compiled kernels have budgets: a file for each operation, each with a tuple `CASES`."""
