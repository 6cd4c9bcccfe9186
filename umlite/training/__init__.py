"""Training a Universal Model: labelled images, windows, loss and loop; made for small models on a CPU."""
