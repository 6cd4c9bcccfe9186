"""Images of nibabel as a source of scans."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.analyze import AnalyzeImage
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.wrapstruct import WrapStructError

from umlite.volume.header import Header
from umlite.volume.unpacking import Notify, read_blocks, reading
from umlite.volume.voxels import HeldVoxels, Stored, Voxels, file_voxels, to_hu

_FIELDS = ("dim", "datatype", "pixdim", "xyzt_units", "intent_code", "sform_code", "qform_code")
_FORM_FIELDS = tuple(f"quatern_{a}" for a in "bcd") + tuple(
    f"{name}_{a}" for name in ("qoffset", "srow") for a in "xyz"
)


def unchanged_file(image: SpatialImage) -> Path | None:
    """The NIfTI or ANALYZE file that an image was loaded from; None where it says anything else than that file now.

    nibabel repairs headers when it loads them. Reading the file itself tells what was repaired, and lets a form that is
    whole stand in for one that is not.
    """
    data, filename = image.dataobj, image.get_filename()
    if not isinstance(image, AnalyzeImage) or not is_plain_proxy(data) or filename is None:
        return None
    if not isinstance(image.header, nib.Nifti1Header):
        return Path(filename)
    header_file = image.file_map["header" if "header" in image.file_map else "image"].filename
    kind = type(image.header)
    try:
        content = b"".join(read_blocks(Path(str(header_file)), kind.template_dtype.itemsize))
        with LoggingOutputSuppressor(), np.errstate(all="ignore"):
            loaded = kind(content)
            affine = loaded.get_best_affine()
    except (OSError, EOFError, ValueError, HeaderDataError, WrapStructError, ImageFileError):
        return None
    same = all(np.array_equal(image.header[f], loaded[f], equal_nan=True) for f in (*_FIELDS, *_FORM_FIELDS))
    same = same and np.array_equal(image.affine, affine, equal_nan=True) and image.shape == loaded.get_data_shape()
    return Path(filename) if same else None


def is_plain_proxy(data: Any) -> bool:
    """Whether nibabel would read voxels with one slope and one intercept, x fastest, from a file of a name."""
    return type(data) is ArrayProxy and data.order == "F" and isinstance(data.file_like, (str, os.PathLike))


def voxels_of_image(data: Any, header: Header, notify: Notify) -> Voxels:
    """The voxels of an image's `dataobj`. notify: as of `file_voxels`. Raises InputError."""
    if is_plain_proxy(data):
        path = Path(data.file_like)
        return file_voxels(Stored(path, data.offset, header.shape, header.dtype, header.slope, header.inter), notify)
    with reading(Path("The image")):
        if type(data) is ArrayProxy:
            return HeldVoxels(to_hu(data.get_unscaled().reshape(header.shape, order="A"), header.slope, header.inter))
        return HeldVoxels(to_hu(np.asanyarray(data).reshape(header.shape, order="A"), 1.0, 0.0))
