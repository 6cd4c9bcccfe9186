"""Procedural CT phantoms: seeded synthetic patients with exact masks, for training and tests without real scans."""

from umlite.phantom.phantom import Phantom, make_phantom, render_phantom
from umlite.phantom.scene import MODELLED, Lesion
from umlite.phantom.spec import LesionSpec, PhantomSpec, draw_spec

__all__ = [
    "MODELLED",
    "Lesion",
    "LesionSpec",
    "Phantom",
    "PhantomSpec",
    "draw_spec",
    "make_phantom",
    "render_phantom",
]
