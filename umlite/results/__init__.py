"""What is made of masks: files, label maps, probabilities, pictures and metrics."""
