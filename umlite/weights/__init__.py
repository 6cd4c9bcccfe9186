"""Weights files: manifest, loading, conversion, download and the store of installed ones."""
