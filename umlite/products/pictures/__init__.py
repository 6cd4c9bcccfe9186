"""Slices of a scan as pictures, and the preview that is made of them."""
