"""Seeded hostile inputs for everything that reads files: `python -m bench.fuzz TARGET --count N --seed S`."""
