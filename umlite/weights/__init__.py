"""Weights files: model card, loading, conversion, download and the store of installed ones."""
