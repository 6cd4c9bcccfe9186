"""A sweep that skips windows in which the requested classes cannot be."""
