"""A sweep that leaves out windows which cannot matter for the requested classes."""
