"""What a run takes in time and memory: predicted, limited, measured."""
