"""Other formats are called by their names."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from umlite.errors import InputError
from umlite.volume.formats import format_of
from umlite.volume.reading import read_scan

NIFTI = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes()


def dicom(preamble: bytes = bytes(128)) -> bytes:
    return preamble + b"DICM" + b"\x02\0\0\0UL\x04\0" + bytes(1000)


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, kind)
    return stream.getvalue() + bytes(600)


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("scan.nii", NIFTI)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "empty"),
        (dicom(), "DICOM"),
        (dicom(NIFTI[:128]), "DICOM"),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + bytes(600), "DICOM"),
        (nib.MGHImage(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes(), "MGH or MGZ"),
        (gzip.compress(nib.MGHImage(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes(), mtime=0), "MGH or MGZ"),
        (b"CDF\x01" + bytes(600), "MINC"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "MINC 2"),
        (b"NRRD0005\ntype: short\n" + bytes(600), "NRRD"),
        (b"ObjectType = Image\nNDims = 3\n" * 40, "MetaImage"),
        (b"NDims = 3\nDimSize = 4 4 4\n" * 40, "MetaImage"),
        (b"ObjectType = Image\nNDims = 3\nElementDataFile = LOCAL\n" + bytes(600), "MetaImage"),
        (picture("PNG"), "PNG"),
        (picture("JPEG"), "JPEG"),
        (picture("TIFF"), "TIFF"),
        (picture("GIF"), "GIF"),
        (archive(), "ZIP"),
        (NIFTI[:348].replace(b"n+1\0", bytes(4)) + bytes(600), "ANALYZE"),
        (b"patient,age\n1,2\n" * 60, "text file"),
    ],
)
def test_a_file_is_called_by_its_name(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "scan.nii").write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_scan(tmp_path / "scan.nii")


def test_nifti_has_no_other_name() -> None:
    assert format_of(NIFTI[:540]) is None
