"""Time and memory of a run: predicted, limited and measured."""
