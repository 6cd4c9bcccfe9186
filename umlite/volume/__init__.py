"""Scans in, masks out: reading, geometry, resampling, writing."""
