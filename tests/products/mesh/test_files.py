"""STL and GLB files are what their standards say, also for another reader."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from support.fields import balls
from umlite.products.mesh.files import glb_bytes, stl_bytes
from umlite.products.mesh.surface import Mesh, zero_surface

EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))


@pytest.fixture(scope="module")
def ball() -> Mesh:
    field = balls((24, 24, 24), (11.5, 11.5, 11.5, 8))
    affine = np.array([[2.0, 0, 0, 100], [0, 3, 0, -50], [0, 0, 4, 700], [0, 0, 0, 1]])
    return zero_surface(lambda first, end: field[first:end], (24, 24, 24)).moved(affine)


def chunks(data: bytes) -> tuple[dict, bytes]:
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    found, place = [], 12
    while place < length:
        size, kind = struct.unpack_from("<I4s", data, place)
        assert size % 4 == 0
        found.append((kind, data[place + 8 : place + 8 + size]))
        place += 8 + size
    assert place == length
    assert [kind for kind, _ in found] == [b"JSON", b"BIN\0"][: len(found)]
    return json.loads(found[0][1]), found[1][1] if len(found) > 1 else b""


def test_stl(ball: Mesh) -> None:
    data = stl_bytes(ball, "liver")
    assert len(data) == 84 + 50 * len(ball.triangles)
    assert struct.unpack_from("<I", data, 80) == (len(ball.triangles),)
    assert b"SPACE=RAS" in data[:80]
    assert b"liver" in data[:80]
    assert not data.startswith(b"solid")  # readers take that for text
    found = trimesh.load(io.BytesIO(data), file_type="stl")
    assert found.is_watertight
    assert found.volume == pytest.approx(ball.volume, rel=1e-4)
    rows = np.frombuffer(data, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("a", "<u2")]), offset=84)
    outwards = rows["corners"].mean(axis=1) - ball.points.mean(axis=0)
    assert ((rows["normal"] * outwards).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(rows["normal"], axis=1), 1, atol=1e-5)


def test_glb(ball: Mesh) -> None:
    content, binary = chunks(glb_bytes(ball, "liver", (255, 128, 0)))
    assert content["asset"]["version"] == "2.0"
    assert content["buffers"] == [{"byteLength": len(binary)}]
    ends = [view["byteOffset"] + view["byteLength"] for view in content["bufferViews"]]
    assert [0, *ends] == [*(view["byteOffset"] for view in content["bufferViews"]), len(binary)]
    points, normals, indices = content["accessors"]
    place = np.frombuffer(binary, "<f4", points["count"] * 3).reshape(-1, 3)
    np.testing.assert_array_equal(place.min(axis=0), np.float32(points["min"]))
    np.testing.assert_array_equal(place.max(axis=0), np.float32(points["max"]))
    normal = np.frombuffer(binary, "<f4", normals["count"] * 3, ends[0]).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    assert (((place - place.mean(axis=0)) * normal).sum(axis=1) > 0).all()
    index = np.frombuffer(binary, "<u4", indices["count"], ends[1])
    np.testing.assert_array_equal(index.reshape(-1, 3), ball.triangles)
    assert content["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] == [1.0, 0.21586, 0.0, 1.0]
    assert content["nodes"][0]["name"] == content["meshes"][0]["name"] == "liver"


def test_glb_stands_upright_in_metres(ball: Mesh) -> None:
    """The patient's head is up (+y), the front looks along +z, the right is at -x."""
    scene = trimesh.load(io.BytesIO(glb_bytes(ball, "liver", (1, 2, 3))), file_type="glb")
    (found,) = scene.dump()
    assert found.is_watertight
    assert found.volume == pytest.approx(ball.volume * 1e-9, rel=1e-4)
    right, front, head = ball.points.mean(axis=0) / 1000
    np.testing.assert_allclose(found.vertices.mean(axis=0), (-right, head, front), atol=1e-6)


def test_empty_meshes_are_valid_files() -> None:
    assert stl_bytes(EMPTY, "liver")[80:] == bytes(4)
    content, binary = chunks(glb_bytes(EMPTY, "liver", (1, 2, 3)))
    assert binary == b""
    assert "mesh" not in content["nodes"][0]
    assert "buffers" not in content
