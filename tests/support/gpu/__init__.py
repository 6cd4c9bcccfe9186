"""Triton kernels without a GPU: interpreted, compiled ahead of time, held to budgets."""
