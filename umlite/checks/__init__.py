"""Checks of correctness and speed: verification, benchmark, and the reference pipeline."""
