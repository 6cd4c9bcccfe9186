"""The scanner: blur, noise with the kernel's texture, streaks, rings, the round field of reconstruction."""

from __future__ import annotations

import numpy as np

from umlite.phantom.noise import Array, Vector
from umlite.phantom.scene import Scene

HU_MIN, HU_MAX = -1024.0, 3071.0
_NOISE_MM = {"soft": 1.6, "medium": 1.0, "sharp": 0.6}
_STREAKS, _SIDEWAYS_RAD, _STREAK_STEP_MM = 9, 0.16, 14.0
_STREAK_OFF_MM = 45.0
_METAL_STREAK_HU, _METAL_REACH_MM, _METAL_Z_MM = 160.0, 110.0, 26.0


def scan(scene: Scene, metal_at: tuple[float, float, float] | None) -> Array:
    """The scene's HU as a scanner would show them: whole numbers, float32 [X, Y, Z]."""
    spec, grid = scene.spec, scene.grid
    hu = scene.hu
    for axis in range(3):
        hu = smooth(hu, spec.blur_mm / grid.spacing_mm[axis], axis)
    hu = hu + _noise(scene)
    x, y = (axis.astype(np.float32) for axis in grid.axes_mm[:2])
    if spec.streak_hu:
        streaks = _streaks(scene, "streaks", (0.0, -20.0), _SIDEWAYS_RAD) * np.float32(spec.streak_hu)
        z = grid.axes_mm[2] / np.float32(_STREAK_STEP_MM)
        waning = np.sin(z + np.sin(np.float32(2.7) * z))
        hu += streaks[:, :, None] * waning * (hu > -900)
    if spec.ring_hu:
        r = np.hypot(x[:, None], y[None, :])
        rings = np.float32(spec.ring_hu) * np.cos(r * np.float32(0.7)) * np.exp(-r / 45)
        hu += rings[:, :, None]
    if metal_at is not None:
        centre = grid.to_scanner(metal_at)
        streaks = np.float32(_METAL_STREAK_HU) * _streaks(scene, "metal streaks", centre[:2], np.pi)
        streaks *= np.exp(-np.hypot(x[:, None] - centre[0], y[None, :] - centre[1]) / _METAL_REACH_MM)
        near = np.exp(-np.square((grid.axes_mm[2] - centre[2]) / np.float32(_METAL_Z_MM)))
        hu += streaks[:, :, None] * near * (hu > -900)
    radius = max(abs(x[0]), abs(x[-1])) * (1.02 if scene.rng("field").random() < 0.35 else 9)
    centre_y = np.float32((y[0] + y[-1]) / 2)
    outside = np.hypot(x[:, None], y[None, :] - centre_y) > radius
    hu[outside] = HU_MIN
    np.round(hu, out=hu)
    return np.clip(hu, HU_MIN, HU_MAX, out=hu)


def smooth(volume: Array, sigma: float, axis: int) -> Array:
    """Gaussian blur along one axis; sigma in voxels; edges repeat."""
    if sigma < 0.15:
        return volume
    reach = max(1, int(np.ceil(2.5 * sigma)))
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma)).astype(np.float32)
    weights /= weights.sum()
    size = volume.shape[axis]
    out = volume * weights[reach]
    for step in range(1, reach + 1):
        for sign in (-1, 1):
            place = np.clip(np.arange(size) + sign * step, 0, size - 1)
            part = np.take(volume, place, axis=axis)
            part *= weights[reach]
            part *= weights[reach + step] / weights[reach]
            out += part
    return out


def _noise(scene: Scene) -> Array:
    """Noise with the kernel's coarseness, stronger deep in the body, where fewer photons arrive."""
    spec, grid = scene.spec, scene.grid
    noise = scene.rng("noise").standard_normal(grid.shape, dtype=np.float32)
    for axis in (0, 1, 2):
        noise = smooth(noise, _NOISE_MM[spec.kernel] / grid.spacing_mm[axis], axis)
    noise /= noise.std()
    depth = np.clip(-scene.skin / np.float32(90), 0, 1)
    noise *= np.float32(spec.noise_hu) * (np.float32(0.55) + np.float32(0.6) * depth)
    return noise


def _streaks(scene: Scene, name: str, centre: Vector, spread_rad: float) -> Array:
    """Bright and dark lines near a point, float32 [X, Y]: from side to side, as through both hips, or all around."""
    rng = scene.rng(name)
    x, y = scene.grid.axes_mm[0][:, None] - centre[0], scene.grid.axes_mm[1][None, :] - centre[1]
    total = np.zeros((x.size, y.size), np.float32)
    for _ in range(_STREAKS):
        angle, width = rng.uniform(-spread_rad, spread_rad) + np.pi / 2, rng.uniform(3, 9)
        across = x * np.cos(angle) + y * np.sin(angle)
        across -= rng.normal(0, _STREAK_OFF_MM) * (spread_rad < 1)
        total += rng.normal() * np.exp(-np.square(across / width))
    return total
