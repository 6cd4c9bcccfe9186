"""What is made of masks: files, label maps, probabilities and metrics."""
