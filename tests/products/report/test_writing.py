"""Reports as files: pictures within a budget, masks that survive it, escaped text, indexes, what is not told."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from support.reports import LIVER_HU, SHAPE, hostile_names, hostile_result, save_report, small_result
from umlite.cli import app
from umlite.masks.bitmask import BitMask
from umlite.outputs.file_set import together
from umlite.products import report
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.report import stack
from umlite.products.report.index import write_index
from umlite.products.report.markup import Markup, data_block, element
from umlite.products.report.product import Report, checks_of, shareable
from umlite.products.report.stack import Patterns, choose_size, pictures
from umlite.products.report.summary import read_summary
from umlite.products.report.text import sentences
from umlite.products.report.tones import KNOTS, Tones
from umlite.products.wanted import Wanted


def decoded(text: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_text_is_escaped_and_markup_is_not() -> None:
    shown = element("p", "<b>", Markup("<i>x</i>"), None, ["&", ["'\""]], title='"><script>', data_a_b=True, id=None)
    assert shown == (
        '<p title="&quot;&gt;&lt;script&gt;" data-a-b>&lt;b&gt;<i>x</i>&amp;&#x27;&quot;</p>'
    )  # fmt: skip
    assert element("p", "a\u202eb\x00") == "<p>a\\u202eb\\x00</p>"


def test_data_blocks_hold_any_text_and_end_only_at_their_end() -> None:
    names = hostile_names(100)
    block = data_block("x", names)
    assert block.count("<") == 2
    inside = re.fullmatch(r'<script type="application/json" id="x">(.*)</script>', block, flags=re.S)
    assert inside
    assert json.loads(inside[1]) == names


def test_tones_are_fine_in_soft_tissue_and_come_back() -> None:
    hu = np.arange(-2000, 4000, dtype=np.int16)
    tones = Tones().of(hu)
    assert np.array_equal(tones, Tones().of(hu.astype(np.float32)))
    assert np.all(np.diff(tones.astype(int)) >= 0)
    back = np.interp(tones, [tone for _, tone in KNOTS], [hu for hu, _ in KNOTS])
    soft = (hu >= -200) & (hu <= 300)
    assert np.abs(back - hu)[soft].max() < 1.6
    assert Tones.covering((0.0, 1.0)).of(np.float32([0, 0.5, 1])).tolist() == [0, 128, 255]
    assert Tones.covering((5.0, 5.0)).of(np.int16([5])).tolist() == [0]


def test_pictures_of_masks_are_exact_even_for_many_sets_of_many_classes() -> None:
    rng = np.random.default_rng(0)
    names = [f"class_{i}" for i in range(40)]
    bits = rng.integers(0, 1 << 40, (40, 30, 1), dtype=np.uint64)
    order = names[::-1]
    patterns = Patterns(order)
    numbers = patterns.picture(BitMask((bits,), tuple(names))).astype(int)
    assert len(patterns.sets) == 1 + 40 + 1200
    sets = np.array(patterns.sets, np.uint64)[numbers[:, :, 0] * 256 + numbers[:, :, 1]]
    for name in names:
        drawn = (sets >> np.uint64(order.index(name)) & np.uint64(1)).astype(bool)
        assert np.array_equal(drawn.T, BitMask((bits,), tuple(names)).mask(name)[:, :, 0])


def test_more_sets_than_numbers_show_the_uppermost_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "MOST_SETS", 5)
    patterns = Patterns(["a", "b", "c"])
    bits = np.uint32([3, 5, 7, 0, 4]).reshape(5, 1, 1)
    numbers = patterns.picture(BitMask((bits,), ("a", "b", "c")))[0, :, 1]
    assert [patterns.sets[n] for n in numbers] == [3, 4, 4, 0, 4]


def test_every_sentence_has_a_use_and_every_use_a_sentence() -> None:
    folder = Path(report.__file__).parent
    scripts = "".join(file.read_text() for file in (folder / "assets").glob("*.js"))
    used = set(re.findall(r'sentence\("(\w+)"', scripts))
    assert used == {name for name in sentences("viewer") if not name.startswith("side_")}
    python = "".join(file.read_text() for file in folder.glob("*.py"))
    parts = json.loads((folder / "text.en.json").read_text())
    names = {name for part in parts if part != "viewer" for name in parts[part]}
    unused = {name for name in names if not re.search(rf"[\"']{name}[\"']", python)}
    assert unused == {"axial", "coronal", "sagittal"}  # the names of planes


def test_every_plane_has_its_tones_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_SLAB_VOXELS", 1)
    result = small_result()
    patterns = Patterns(["liver", "spleen", "bladder", "liver_tumor"])
    tones = Tones()
    planes = list(pictures(result.scan, result.masks, tones, SHAPE[:2], patterns))
    assert len(planes) == SHAPE[2]
    assert planes[0].masks == ""
    grey = decoded(planes[10].tones)[:, :, 1].T.astype(int)
    assert abs(int(grey[50, 30]) - int(tones.of(np.int16([LIVER_HU]))[0])) < 6
    numbers = decoded(planes[10].masks).astype(int)
    sets = np.array(patterns.sets)[numbers[:, :, 0] * 256 + numbers[:, :, 1]]
    assert np.array_equal((sets & 1).astype(bool).T, result.mask("liver")[:, :, 10])


def test_pictures_shrink_until_they_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = small_result()
    rng = np.random.default_rng(0)
    result.scan.hu[...] = rng.normal(40, 200, SHAPE)
    tones = Tones()
    assert choose_size(result.scan, tones) == SHAPE[:2]
    width, height = choose_size(result.scan, tones, 50_000)
    assert 35 < width < 55
    assert width / height == pytest.approx(60 / 48, rel=0.05)
    planes = pictures(result.scan, result.masks, tones, (width, height), Patterns(result.masks.names))
    assert sum(len(plane.tones) for plane in planes) < 55_000
    monkeypatch.setattr(stack, "MOST_VOXELS", SHAPE[0] * SHAPE[1] * SHAPE[2] // 2)
    assert choose_size(result.scan, tones)[0] == 42
    text = save_report(tmp_path / "a.html", result).read_text()
    assert "Pictures have 42 x 34 pixels where the scan has 60 x 48" in text


def test_the_summary_of_a_report_is_read_again_and_nothing_else_is(tmp_path: Path) -> None:
    name, *_ = hostile_names(1)
    path = save_report(tmp_path / "a.html", hostile_result([name, "liver"]), title=name)
    summary = read_summary(path)
    assert summary is not None
    assert summary.title == name
    assert summary.volumes_ml.keys() == {name, "liver"}
    text = path.read_text()
    before, after = re.split(r'<script type="application/json" id="summary">.*?</script>', text, maxsplit=1)
    for bad in ('{"title": 3}', "[]", "nonsense", "[" * 100_000):
        block = f'<script type="application/json" id="summary">{bad}</script>'
        path.write_text(before + block + after)
        assert read_summary(path) is None
    path.write_text(text.replace('"picture":"', '"picture":"x\\" onerror=1'))
    assert read_summary(path).picture == ""


def test_an_index_of_nothing_is_a_page(tmp_path: Path) -> None:
    assert "Scans: 0" in write_index(tmp_path).read_text()


def test_what_is_shared_names_no_folders_and_no_series() -> None:
    run = {
        "input": {"path": "/home/doe", "series_uid": "1.2", "sha256": "a"},
        "wanted": {"report": "/x", "format": "f"},
        "weights": {"file": "/home/doe/w.safetensors", "parts": ["/a/b", f"from {Path.home()}/c", 1, None]},
    }
    assert shareable(run) == {
        "input": {"sha256": "a"},
        "wanted": {"format": "f"},
        "weights": {"file": "w.safetensors", "parts": ["b", "from ~/c", 1, None]},
    }


def test_checks_are_findings_warnings_and_notes_without_paths(scan_file: Path) -> None:
    plain = small_result()
    warnings = (f"{scan_file} is odd.", "scan")
    result = replace(plain, scan=replace(plain.scan, path=scan_file), warnings=warnings, notes=("n",))
    found = [(c.code, c.sentence) for c in checks_of(Finished(result))]
    told = [("warning", "scan.nii.gz is odd."), ("warning", "scan"), ("note", "n")]
    assert found == [*told, ("note", "The result was not checked against itself.")]
    checked = Finished(result, wanted=Wanted(checks=True))
    assert checked.findings
    found = [(c.code, c.sentence) for c in checks_of(checked)]
    assert found == [*((f.code, f.sentence) for f in checked.findings), *told]


def run(*arguments: object) -> int:
    return CliRunner().invoke(app, ["segment", *map(str, arguments)]).exit_code


def test_the_command_line_writes_pages_and_their_index(tmp_path: Path, small_weights: Path, scan_file: Path) -> None:
    common = ("-c", "liver,spleen", "--weights", small_weights, "-q", "--overwrite")
    other = tmp_path / "index.nii.gz"
    other.write_bytes(scan_file.read_bytes())
    pages = tmp_path / "pages"
    assert run(scan_file, other, "-o", tmp_path / "out", "--report", pages, *common) == 0
    assert sorted(file.name for file in pages.iterdir()) == ["index.html", "scan.html", "scan_index.html"]
    assert "<bdi>scan</bdi></a>" in (pages / "index.html").read_text()
    assert str(tmp_path) not in (pages / "scan.html").read_text()
    assert run(scan_file, "-o", tmp_path / "out", "--report", tmp_path / "one.html", *common) == 0
    assert (tmp_path / "one.html").stat().st_size > 10_000
    (pages / "index.html").write_text("<html>mine</html>")
    assert run(scan_file, "-o", tmp_path / "out", "--report", pages, *common) == 2
    assert (pages / "index.html").read_text() == "<html>mine</html>"


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    result = small_result()
    monkeypatch.setattr(stack, "_lossless", fail)
    with pytest.raises(Exception, match=r"a\.html"), together(tmp_path) as files:
        Report(str(tmp_path / "a.html")).write(files, Place(tmp_path), Finished(result))
    assert list(tmp_path.iterdir()) == []
