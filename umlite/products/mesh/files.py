"""Meshes as files: STL for printers and viewers of scans, GLB (binary glTF 2.0) for everything else.

Source: Khronos, "glTF 2.0 Specification", sections 3.4 (coordinates and units) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite import __version__
from umlite.products.mesh.surface import Mesh

MESH_FORMATS = ("stl", "glb")
COORDINATES = "mm, RAS: x grows to the patient's right, y to the front, z to the head"

_STL_HEADER = 80
_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_RAS_MM_TO_GLTF = [-0.001, 0, 0, 0, 0, 0, 0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1]
"""Column by column: right is -x, front is z, head is y; metres."""
_FLOAT, _UNSIGNED, _VERTICES, _INDICES = 5126, 5125, 34962, 34963
"""glTF's numbers for component types and for targets of buffer views."""


def stl_bytes(mesh: Mesh, name: str) -> bytes:
    """A binary STL file. Its header says RAS, as 3D Slicer reads it; the format knows no units.

    Args:
        mesh: points in RAS mm.
        name: of the class, for the header.
    """
    rows = np.zeros(len(mesh.triangles), _STL_TRIANGLE)
    rows["corners"] = mesh.points[mesh.triangles]
    rows["normal"] = _unit(_area_vectors(mesh))
    header = f"umlite {__version__} SPACE=RAS UNITS=mm {name}".encode("ascii", "replace")[:_STL_HEADER]
    return header.ljust(_STL_HEADER) + struct.pack("<I", len(rows)) + rows.tobytes()


def glb_bytes(mesh: Mesh, name: str, color: Sequence[int]) -> bytes:
    """A GLB file with one node, whose matrix takes RAS mm to glTF's metres with y up.

    An empty mesh gives a node without a mesh, since glTF has no empty ones.

    Args:
        mesh: points in RAS mm.
        name: of the node, the mesh and the material.
        color: red, green, blue, 0 to 255, sRGB.
    """
    node: dict[str, Any] = {"name": name, "matrix": _RAS_MM_TO_GLTF, "extras": {"coordinates": COORDINATES}}
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"umlite {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
    }
    if not len(mesh.triangles):
        return _glb(content, b"")
    points = mesh.points.astype("<f4")
    parts = [points.tobytes(), _normals(mesh).astype("<f4").tobytes(), mesh.triangles.astype("<u4").tobytes()]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    targets = (_VERTICES, _VERTICES, _INDICES)
    node["mesh"] = 0
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2, "material": 0}
    content |= {
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [
            {
                "name": name,
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*map(_linear, color), 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
            }
        ],
        "buffers": [{"byteLength": starts[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part), "target": target}
            for start, part, target in zip(starts, parts, targets, strict=False)
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(points),
                "type": "VEC3",
                "min": points.min(axis=0).tolist(),
                "max": points.max(axis=0).tolist(),
            },
            {"bufferView": 1, "componentType": _FLOAT, "count": len(points), "type": "VEC3"},
            {"bufferView": 2, "componentType": _UNSIGNED, "count": mesh.triangles.size, "type": "SCALAR"},
        ],
    }
    return _glb(content, b"".join(parts))


def _glb(content: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _area_vectors(mesh: Mesh) -> npt.NDArray[np.float64]:
    """A vector for each triangle, at a right angle to it and outwards; its length is twice the area."""
    a, b, c = np.moveaxis(mesh.points[mesh.triangles], 1, 0)
    return np.cross(b - a, c - a)


def _normals(mesh: Mesh) -> npt.NDArray[np.float64]:
    """A normal of length 1 for each point: the mean of its triangles' normals by area."""
    areas = _area_vectors(mesh)
    sums = np.zeros_like(mesh.points)
    for corner in mesh.triangles.T:
        for axis in range(3):
            sums[:, axis] += np.bincount(corner, areas[:, axis], len(sums))
    unit = _unit(sums)
    unit[(unit == 0).all(axis=1)] = (0, 0, 1)  # glTF wants length 1
    return unit


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _linear(channel: int) -> float:
    """A channel of an sRGB colour as glTF counts it, 0 to 1."""
    share = channel / 255
    return round(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4, 5)
