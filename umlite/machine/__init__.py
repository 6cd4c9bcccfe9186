"""The machine that a run is on: processor, threads, memory, control groups, cache folder."""
