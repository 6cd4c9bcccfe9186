import struct
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest

from umlite.errors import InputError
from umlite.results.label_table import label_extension, read_label_names

NAMES = {
    1: ("spleen", (157, 108, 162)),
    26: ('a <b> & "c" ]]> d]]>', (0, 255, 1)),
    300: ("Leber \N{LATIN SMALL LETTER U WITH DIAERESIS} \N{CJK UNIFIED IDEOGRAPH-809D}\x00\x1b", (0, 0, 0)),
}


def file_with(path: Path, *contents: bytes, kind: type = nib.Nifti1Image) -> Path:
    image = kind(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header.extensions.extend(nib.nifti1.Nifti1Extension(0, content) for content in contents)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (nib.Nifti1Image, ".nii"),
        (nib.Nifti1Image, ".nii.gz"),
        (nib.Nifti2Image, ".nii"),
        (nib.Nifti2Image, ".nii.gz"),
        (nib.Nifti1Pair, ".hdr"),
    ],
)
def test_names_come_back(kind: type, suffix: str, tmp_path: Path) -> None:
    path = file_with(tmp_path / f"a{suffix}", b"something else", label_extension(NAMES).get_content(), kind=kind)
    assert read_label_names(path) == {1: "spleen", 26: NAMES[26][0], 300: NAMES[300][0][:-2] + "??"}


def test_layout_is_totalsegmentators() -> None:
    content = label_extension(NAMES).get_content()
    assert (len(content) + 8) % 16 == 0
    assert b"\0" not in content
    root = ElementTree.fromstring(content.decode())
    labels = root.findall("./VolumeInformation/LabelTable/Label")
    assert root.tag == "CaretExtension"
    assert root.findtext("./VolumeInformation/VolumeType") == "Label"
    assert [label.attrib["Key"] for label in labels] == ["1", "26", "300"]
    assert [float(labels[1].attrib[c]) for c in ("Red", "Green", "Blue", "Alpha")] == pytest.approx(
        [0, 1, 1 / 255, 1], abs=1e-6
    )


def test_no_table(tmp_path: Path) -> None:
    assert read_label_names(file_with(tmp_path / "a.nii.gz")) == {}
    assert read_label_names(file_with(tmp_path / "b.nii.gz", b"patient: none")) == {}


@pytest.mark.parametrize(
    "xml",
    [
        b"<CaretExtension><Label",
        b"<CaretExtension><Label Key='x'>a</Label></CaretExtension>",
        b"<CaretExtension><Label>a</Label></CaretExtension>",
        b"<CaretExtension>\xff\xfe</CaretExtension>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><CaretExtension><Label Key="1">&b;</Label></CaretExtension>',
    ],
)
def test_damaged_tables_are_refused(xml: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label table"):
        read_label_names(file_with(tmp_path / "a.nii", xml))


@pytest.mark.parametrize("size", [-16, 0, 15, 1 << 30])
def test_nonsense_sizes_end_the_search(size: int, tmp_path: Path) -> None:
    path = file_with(tmp_path / "a.nii", label_extension(NAMES).get_content())
    content = bytearray(path.read_bytes())
    content[352:356] = struct.pack("<i", size)
    path.write_bytes(content)
    assert read_label_names(path) == {}


def test_no_nifti(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"text")
    with pytest.raises(InputError, match="text file"):
        read_label_names(tmp_path / "a.nii")
