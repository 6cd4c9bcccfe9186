"""Several scans in one run: where each result goes, how it is saved, and what becomes of failures."""
