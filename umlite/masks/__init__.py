"""Bit masks of all classes, their clean-up, and their way back to the scan's grid."""
