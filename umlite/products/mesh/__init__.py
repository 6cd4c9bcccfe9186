"""Surfaces of classes as meshes."""
