"""Hostile scans: odd fields of NIfTI headers, odd bytes, odd gzips, other formats under the names of NIfTI."""

from __future__ import annotations

import functools
import gzip
import random
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from bench.fuzz.mutation import ODD_FLOATS, ODD_NUMBERS, odd_bytes
from umlite.volume.preparation import prepare_volume
from umlite.volume.reading import read_scan

ODD_SIZES = (-1, 0, 1, 2, 5, 255, 30000, 32767)
CODES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 7)
FLOAT_FIELDS = (
    *(f"quatern_{axis}" for axis in "bcd"),
    *(f"qoffset_{axis}" for axis in "xyz"),
    *("scl_slope", "scl_inter", "vox_offset", "cal_min"),
)
STARTS = (b"NRRD0005\n", b"ObjectType = Image\n", b"CDF\1", b"\x89HDF\r\n\x1a\n", b"PK\3\4", b"\0\0\0\1", b"\x5c\1\0\0")


def header(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A NIfTI file or pair with odd fields."""
    version, pair = rng.choice((1, 1, 2)), rng.random() < 0.2
    head, voxels = sound_scan(version, pair)
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    fields = kind(head[: kind.template_dtype.itemsize], check=False)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(rng.choice((1, 1, 2, 4))):
            _spoil(rng, fields)
    spoilt = fields.binaryblock + head[kind.template_dtype.itemsize :]
    if pair:
        (folder / "scan.hdr").write_bytes(spoilt)
        (folder / "scan.img").write_bytes(voxels)
        return functools.partial(_read, folder / rng.choice(("scan.hdr", "scan.img")), rng.random() < 0.5)
    (folder / "scan.nii").write_bytes(spoilt + voxels)
    return functools.partial(_read, folder / "scan.nii", rng.random() < 0.5)


def gzipped(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A gzip with odd bytes, members, ends, or far more in it than its header says."""
    path = folder / "scan.nii.gz"
    content = b"".join(sound_scan(rng.choice((1, 2)), pair=False))
    kind = rng.randrange(6)
    if kind == 0:
        packed = odd_bytes(rng, gzip.compress(content))
    elif kind == 1:
        packed = gzip.compress(odd_bytes(rng, content))
    elif kind == 2:
        packed = gzip.compress(content) + rng.choice(
            (b"", bytes(5000), rng.randbytes(300), gzip.compress(b"x"), b"\x1f")
        )
    elif kind == 3:
        cut = rng.randrange(len(content))
        packed = gzip.compress(content[:cut]) + rng.choice((b"", bytes(9))) + gzip.compress(content[cut:])
    elif kind == 4:
        packed = gzip.compress(content)[: rng.randrange(200)]
    else:
        packed = gzip.compress(content + bytes(rng.choice((10**6, 10**7))), 1)
    path.write_bytes(packed)
    return functools.partial(_read, path, rng.random() < 0.5)


def foreign(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Bytes of another format, or of none, under a name of NIfTI."""
    body = rng.randbytes(rng.choice((0, 3, 100, 700))) if rng.random() < 0.5 else bytes(rng.randrange(3000))
    data = rng.choice((*STARTS, b"", bytes(128) + b"DICM", b"\x08\0\x05\0CS")) + body
    sound = b"".join(sound_scan(1, pair=False))
    if rng.random() < 0.3:
        data = rng.choice((sound[:128] + b"DICM" + body, sound))
    name = rng.choice(("scan.nii", "scan.nii.gz", "scan.hdr", "scan.img", "scan"))
    (folder / name).write_bytes(rng.choice((bytes, gzip.compress, zlib.compress))(data))
    return functools.partial(_read, folder / name, False)


@functools.cache
def sound_scan(version: int, pair: bool) -> tuple[bytes, bytes]:
    """Header, up to the voxels, and voxels of a small scan that is as large as a body."""
    hu = np.random.default_rng(0).integers(-1000, 1500, (6, 5, 4)).astype(np.int16)
    affine = nib.affines.from_matvec(np.diag([-60.0, 60, 70]), (150, -120, 30))
    kinds = {1: (nib.Nifti1Image, nib.Nifti1Pair), 2: (nib.Nifti2Image, nib.Nifti2Pair)}
    image = kinds[version][pair](hu, affine)
    image.set_qform(affine, code=1)
    if pair:
        return image.header.binaryblock, hu.tobytes("F")
    content = image.to_bytes()
    return content[: -hu.nbytes], content[-hu.nbytes :]


def _spoil(rng: random.Random, fields: nib.Nifti1Header) -> None:
    number = rng.choice((*ODD_FLOATS, *(float(n) for n in ODD_NUMBERS), rng.gauss(0, 1), 10 ** rng.uniform(-9, 9)))
    kind = rng.randrange(8)
    if kind == 0:
        fields["dim"][rng.randrange(8)] = rng.choice((*ODD_SIZES, rng.randrange(8)))
    elif kind == 1:
        fields["pixdim"][rng.randrange(8)] = number
    elif kind == 2:
        fields[rng.choice(("srow_x", "srow_y", "srow_z"))][rng.randrange(4)] = number
    elif kind == 3:
        fields[rng.choice(("sform_code", "qform_code"))] = rng.choice((-1, 0, 1, 2, 5, 6, 99))
    elif kind == 4:
        fields["datatype"] = rng.choice(CODES)
    elif kind == 5:
        fields["xyzt_units"] = rng.randrange(256 if fields["sizeof_hdr"] == 348 else 2**15)
    elif kind == 6:
        fields["magic"] = rng.choice((b"n+1", b"ni1", b"n+2", b"", b"n+1\0\r\n"))
    else:
        name = rng.choice(FLOAT_FIELDS)
        whole = fields[name].dtype.kind in "iu"
        fields[name] = rng.choice((0, 352, 544, 1 << 40, -8)) if whole else number


def _read(path: Path, force: bool) -> object:
    """What a segmentation does with a scan before the first window, at a coarse spacing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        scan = read_scan(path, force_geometry=force)
        volume = prepare_volume(scan, (25.0, 25.0, 25.0), (-175.0, 250.0), max_ram=100_000_000)
    scan.forms.header(scan.shape, np.dtype(np.uint8))
    return sum(slab.size for slab in scan.slabs(1)), volume


TARGETS = {"header": header, "gzip": gzipped, "foreign": foreign}
