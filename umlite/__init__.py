"""umlite: run the Universal Model (arXiv 2405.18356) on CT scans, exactly and fast."""

__version__ = "0.1.0.dev0"
