"""What a file is that is no NIfTI scan, told by its first bytes."""

from __future__ import annotations

DICOM = "a DICOM file"
HEAD_BYTES = 540
"""Bytes of a file's beginning, unpacked where it is a gzip, that tell its format."""

_MARKS = {
    b"NRRD": "an NRRD file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 image",
    b"GIF8": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"II+\x00": "a TIFF image",
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\x89HDF": "an HDF5 file (MINC 2?)",
    b"CDF": "a MINC file (or other netCDF)",
    b"MATRIX7": "an ECAT file",
    b"MATLAB 5.0 MAT": "a MATLAB file",
    b"# vtk DataFile": "a VTK file",
    b"<VTKFile": "a VTK file",
    b"!INTERFILE": "an Interfile header",
    b"# === DATA DESCRIPTION FILE": "a Philips PAR header",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
}
_DICOM_GROUPS = (b"\x02\x00", b"\x08\x00")
_DICOM_TYPES = {b"UL", b"OB", b"UI", b"CS", b"DA", b"SH", b"LO"}
_META_IMAGE_KEYS = (b"ObjectType", b"NDims", b"ElementType", b"DimSize")


def format_of(head: bytes) -> str | None:
    """The name of a file's format, with its article; None for NIfTI and for what is not known.

    head: HEAD_BYTES of its beginning, fewer where it is shorter. DICOM comes first: what stands before its mark is
    free, and may look like the beginning of anything else.
    """
    if not head:
        return "empty"
    if head[128:132] == b"DICM" or (head[:2] in _DICOM_GROUPS and head[4:6] in _DICOM_TYPES):
        return DICOM
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _is_mgh(head):
        return "a FreeSurfer MGH or MGZ file"
    if head.split(b"=")[0].strip() in _META_IMAGE_KEYS:
        return "a MetaImage file"
    return "a text file" if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head) else None


def _is_mgh(head: bytes) -> bool:
    """Version 1, four sizes of at least one, and one of its types of voxels, all big-endian."""
    words = [int.from_bytes(head[at : at + 4], "big", signed=True) for at in range(0, 24, 4)]
    return words[0] == 1 and all(n > 0 for n in words[1:5]) and words[5] in (0, 1, 3, 4) and len(head) > 284
