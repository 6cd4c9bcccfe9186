"""The bundled demo weights: the images they are trained on, their network, and the commands that make the file."""
