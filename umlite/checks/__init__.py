"""Whether umlite is right and how fast it is: verification, benchmark, the reference pipeline."""
