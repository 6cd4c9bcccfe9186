"""Bit masks of all classes, their post-processing, and their way back to the scan's grid."""
