"""Comparison of masks with a ground truth: metrics of a case, cohorts, layouts of folders. Needs no torch."""
