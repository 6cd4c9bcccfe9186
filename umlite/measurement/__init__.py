"""What a run costs and how exact it is: predicted beforehand, measured, verified, and against a reference pipeline."""
