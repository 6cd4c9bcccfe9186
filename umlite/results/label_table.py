"""Names and colours of labels inside a NIfTI file, in the Caret XML extension that TotalSegmentator also writes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from nibabel.nifti1 import Nifti1Extension

from umlite.errors import InputError
from umlite.files import expanded
from umlite.volume.nifti import open_nifti, read_extensions

_CODE = 0
_MOST_BYTES = 1 << 20
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def label_extension(names: Mapping[int, tuple[str, tuple[int, int, int]]]) -> Nifti1Extension:
    """The NIfTI extension that names the labels of a label map.

    Format: TotalSegmentator's nifti_ext_header.py (extension code 0, Connectome Workbench's LabelTable). It is padded
    with spaces, because XML readers stumble over the zero bytes that NIfTI would pad with.

    Args:
        names: voxel value -> (name, (red, green, blue) in 0..255).
    """
    rows = "\n".join(_row(index, name, color) for index, (name, color) in names.items())
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension><VolumeInformation Index="0"><LabelTable>\n'
        f"{rows}\n</LabelTable><StudyMetaDataLinkSet></StudyMetaDataLinkSet>"
        "<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>\n"
    ).encode()
    return Nifti1Extension(_CODE, xml + b" " * (-(len(xml) + 8) % 16))


def read_label_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """Names of labels from the label table of a NIfTI file.

    Args:
        path: a NIfTI file.

    Returns:
        Voxel value -> name; empty if the file has no label table.

    Raises:
        InputError: not a NIfTI file, or a table that is damaged, larger than 1 MiB or declares entities.
    """
    path = expanded(path)
    file = open_nifti(path)
    for content in read_extensions(file, _MOST_BYTES):
        if b"<CaretExtension" in content:
            return _parse(content, path)
    return {}


def _row(index: int, name: str, color: tuple[int, int, int]) -> str:
    red, green, blue = (f"{channel / 255:.6g}" for channel in color)
    text = _NOT_XML.sub("?", name).replace("]]>", "]]]]><![CDATA[>")
    return f'<Label Key="{index:d}" Red="{red}" Green="{green}" Blue="{blue}" Alpha="1"><![CDATA[{text}]]></Label>'


def _parse(content: bytes, path: Path) -> dict[int, str]:
    text = content.rstrip(b"\0 \n")
    try:
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ValueError("it declares entities")
        table = ElementTree.fromstring(text.decode("utf-8"))
        return {int(label.attrib["Key"]): label.text or "" for label in table.iter("Label")}
    except (ElementTree.ParseError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} has a label table that cannot be read ({error}): expected Caret XML. Write the file again."
        ) from error
