"""The command line as its users meet it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support.command_line import run
from support.full_disk import full_disk, needs_full_disk
from support.listing import results_in
from support.samples import make_scan, published_state, small_card, small_model
from umlite.weights.loading import save_model


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UMLITE_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def fails(*arguments: object) -> str:
    """The one message of a run that must fail with exit code 2 and print nothing on stdout."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    return result.stderr


# Segmenting


def test_masks_in_a_folder(scan_file: Path, small_weights: Path) -> None:
    result = run("segment", scan_file, "--classes", "liver,pancreas_tumor", "--weights", small_weights, "-o", "out")
    assert results_in("out") == ["liver.nii.gz", "pancreas_tumor.nii.gz"]
    assert re.search(r"liver +[\d,.]+ +[\d,]+", result.stdout)
    assert "volume (ml)" in result.stdout


def test_one_label_map(scan_file: Path, small_weights: Path) -> None:
    run("segment", scan_file, "-c", "organs", "--weights", small_weights, "-o", "all.nii.gz", "--engine", "reference")
    assert nib.load("all.nii.gz").get_data_dtype() == np.uint8


def test_without_output_the_result_is_named_after_the_scan(scan_file: Path, small_weights: Path) -> None:
    run("segment", scan_file, "-c", "liver", "--weights", small_weights)
    assert results_in("scan_segmentation") == ["liver.nii.gz"]


def test_statistics_beside_the_masks(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "-c", "liver,liver_tumor", "--weights", small_weights, "--statistics")
    (scan,) = json.loads(run(*base, "-o", "out", "--json").stdout)["scans"]
    assert scan["files"][-3:] == ["out/statistics.csv", "out/lesions.csv", "out/statistics.json"]
    assert "statistics" in scan["timings_s"]
    numbers = json.loads(Path("out/statistics.json").read_text())
    assert numbers["scan"] == "scan"
    assert scan["statistics"].items() <= numbers.items()
    liver, tumor = scan["statistics"]["classes"]
    assert liver["volume_ml"] == pytest.approx(scan["classes"][0]["volume_ml"], abs=1e-3)
    table = list(csv.DictReader(Path("out/statistics.csv").read_text().splitlines()))
    assert [row["name"] for row in table] == ["liver", "liver_tumor"]
    assert float(table[0]["mean_hu"]) == liver["hu"]["mean"]
    lesions = list(csv.DictReader(Path("out/lesions.csv").read_text().splitlines()))
    assert len(lesions) == tumor["components"] == len(scan["statistics"]["lesions"]) > 0
    assert lesions[0]["id"] == "liver_tumor_1"

    run(*base, "-o", "all.nii.gz")
    assert {"all_statistics.csv", "all_lesions.csv", "all_statistics.json"} <= set(os.listdir())
    Path("all.nii.gz").unlink()
    assert "all_statistics.csv and 2 more exist already" in fails(*base, "-o", "all.nii.gz")


def test_json_is_all_there_is_on_stdout(scan_file: Path, small_weights: Path) -> None:
    result = run("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "out", "--json")
    data = json.loads(result.stdout)
    (scan,) = data["scans"]
    assert scan["files"] == ["out/liver.nii.gz"]
    assert scan["classes"][0]["name"] == "liver"
    mask = np.asarray(nib.load("out/liver.nii.gz").dataobj)
    assert scan["classes"][0]["voxels"] == mask.sum()
    assert scan["classes"][0]["volume_ml"] == pytest.approx(mask.sum() * 0.064, abs=1e-3)
    assert {"windows", "timings_s", "warnings", "notes", "weights"} <= scan.keys()
    assert data["exit_code"] == 0


def test_adaptive_windows(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "-c", "colon", "--weights", small_weights, "--windows", "adaptive", "--overwrite")
    (scan,) = json.loads(run(*base, "--json").stdout)["scans"]
    assert scan["windows"]["run"] + scan["windows"]["reused"] <= scan["windows"]["total"]
    assert (scan["undecided_voxels"] == 0) == (scan["windows"]["run"] == scan["windows"]["total"])
    assert f"{scan['windows']['total']} windows" in run(*base, "--force").stdout
    assert "all or adaptive" in fails(*base[:-2], "some")


def test_probabilities(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "-c", "liver,aorta", "--weights", small_weights, "--probabilities")
    (scan,) = json.loads(run(*base, "-o", "out", "--json").stdout)["scans"]
    names = ["aorta", "aorta_probability", "liver", "liver_probability"]
    assert results_in("out") == [f"{name}.nii.gz" for name in names]
    assert sorted(scan["files"]) == [f"out/{name}.nii.gz" for name in names]
    soft = nib.load("out/liver_probability.nii.gz")
    assert soft.get_data_dtype() == np.uint8
    assert np.array_equal(soft.affine, nib.load(scan_file).affine)
    values, mask = soft.get_fdata(), np.asarray(nib.load("out/liver.nii.gz").dataobj) > 0
    assert 0 <= values.min() < 0.5 < values.max() <= 1
    assert (values[mask] > 0.5).mean() > 0.99
    message = fails(*base, "-o", "out", "--overlap", "0")
    assert message.endswith(
        "differs in: overlap. Choose another place, or allow replacing it. (--overwrite, --output)\n"
    )
    run(*base, "-o", "out", "--overwrite", "--windows", "adaptive")
    os.remove("out/liver.nii.gz")
    os.remove("out/aorta.nii.gz")
    assert "aorta_probability.nii.gz" in fails(*base, "-o", "out").replace("liver_probability", "aorta_probability")
    run(*base, "-o", "maps/all.nii.gz")
    assert sorted(os.listdir("maps")) == ["all.nii.gz", "all_probabilities"]
    assert not list(Path().rglob(".umlite-*"))


def test_probabilities_of_several_scans(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    shutil.copy(scan_file, tmp_path / "b.nii.gz")
    base = ("segment", scan_file, "b.nii.gz", "-c", "liver", "--weights", small_weights, "--probabilities")
    run(*base, "-o", "out")
    assert results_in("out/b") == ["liver.nii.gz", "liver_probability.nii.gz"]
    run(*base, "-o", "maps", "--label-map")
    assert sorted(os.listdir("maps")) == [
        *("b.nii.gz", "b_manifest.json", "b_probabilities"),
        *("scan.nii.gz", "scan_manifest.json", "scan_probabilities"),
    ]


def test_limits_and_dry_run(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "out")
    plan = json.loads(run(*base, "--dry-run", "--json").stdout)
    assert plan["windows"] > 0
    assert not Path("out").exists()
    message = fails(*base, "--max-ram", "1MB")
    assert "1 MB may be taken" in message
    assert not Path("out").exists()
    assert "--max-ram" in fails(*base, "--max-ram", "much")
    (scan,) = json.loads(run(*base, "--json").stdout)["scans"]
    assert scan["actual"]["seconds"] > 0
    assert scan["predicted"]["seconds"] > 0  # the dry run has measured this machine


def test_quiet_says_nothing(scan_file: Path, small_weights: Path) -> None:
    assert run("segment", scan_file, "-c", "liver", "--weights", small_weights, "--kernels", "torch", "-q").output == ""


def test_several_scans_with_a_bad_one(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_text("no scan")
    arguments = ("segment", "bad.nii.gz", scan_file, "-c", "liver", "--weights", small_weights, "-o", "out")
    result = run(*arguments, code=1)
    assert "bad.nii.gz" in result.stderr
    assert "1 of 2 scans segmented, 1 failed" in result.stdout
    assert sorted(os.listdir("out")) == ["failed.jsonl", "scan"]
    result = run(*arguments, "--overwrite", "--json", code=1)
    data = json.loads(result.stdout)
    assert ["error" in scan for scan in data["scans"]] == [True, False]
    assert data["exit_code"] == 1


def test_a_scan_that_is_done_is_skipped(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "out", "--device", "cpu")
    run(*base)
    assert "done before" in run(*base).stdout
    data = json.loads(run(*base, "--overwrite", "--json").stdout)
    (scan,) = data["scans"]
    assert scan["skipped"] is True
    assert scan["files"] == ["out/liver.nii.gz"]
    assert scan["manifest"]["classes"] == ["liver"]
    assert data["exit_code"] == 0
    assert "skipped" not in json.loads(run(*base, "--force", "--json").stdout)["scans"][0]


def test_weights_that_mark_their_results(scan_file: Path, tmp_path: Path) -> None:
    model = small_model(classes=32)
    notice = "For trying the software only."
    save_model(tmp_path / "demo.safetensors", model.state_dict(), small_card(model, notice=notice))
    arguments = ("segment", scan_file, "-c", "liver", "--weights", "demo.safetensors", "--force")
    assert notice in run(*arguments).stderr
    assert notice in run(*arguments, "--quiet").stderr
    assert json.loads(run(*arguments, "--json").stdout)["scans"][0]["notice"] == notice


# Bad input: one message, exit code 2, no traceback


def scan_with(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1]) if affine is None else affine), path)
    return path


def broken_scans(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> file and a part of the message it must lead to."""
    whole = folder / "whole.nii.gz"
    nib.save(make_scan(), whole)
    cut = folder / "cut.nii.gz"
    cut.write_bytes(whole.read_bytes()[:-500])
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    text = folder / "text.nii.gz"
    text.write_text("patient notes")
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    cube = np.zeros((6, 6, 6), np.float32)
    nan, infinite = cube.copy(), cube.copy()
    nan[1, 2, 3], infinite[0, 0, 0] = np.nan, np.inf
    flat = scan_with(folder / "spacing.nii", cube)
    content = bytearray(flat.read_bytes())
    content[80:84] = bytes(4)  # pixdim[1]
    content[252:256] = bytes(4)  # no qform, no sform
    flat.write_bytes(content)
    singular = scan_with(folder / "singular.nii", cube)
    content = bytearray(singular.read_bytes())
    content[280:296] = bytes(16)  # the sform's first row
    singular.write_bytes(content)
    return {
        "missing": (folder / "absent.nii.gz", "absent.nii.gz"),
        "folder": (empty, "folder"),
        "text": (text, "text.nii.gz"),
        "truncated": (cut, "cut.nii.gz"),
        "2-D": (scan_with(folder / "2d.nii", np.zeros((5, 5), np.int16)), "3-D"),
        "4-D": (scan_with(folder / "4d.nii", np.zeros((5, 5, 5, 3), np.int16)), "3"),
        "RGB": (scan_with(folder / "rgb.nii", rgb), "RGB"),
        "complex": (scan_with(folder / "complex.nii", np.zeros((4, 4, 4), np.complex64)), "complex"),
        "NaN": (scan_with(folder / "nan.nii", nan), "NaN"),
        "infinite": (scan_with(folder / "inf.nii", infinite), "infinite"),
        "zero spacing": (flat, "spacing"),
        "singular": (singular, "affine"),
    }


BROKEN = ("missing", "folder", "text", "truncated", "2-D", "4-D", "RGB", "complex", "NaN", "infinite", "zero spacing",
          "singular")  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_bad_scans(kind: str, tmp_path: Path, small_weights: Path) -> None:
    path, part = broken_scans(tmp_path)[kind]
    message = fails("segment", path, "-c", "liver", "--weights", small_weights, "-o", "out")
    assert part.lower() in message.lower()
    assert message.count("Error:") == 1
    assert not Path("out").exists()


def test_an_image_that_cannot_be_hu_is_warned_about(tmp_path: Path, small_weights: Path) -> None:
    image = scan_with(tmp_path / "png.nii.gz", np.random.default_rng(0).integers(0, 256, (20, 20, 20)).astype(np.uint8))
    result = run("segment", image, "-c", "liver", "--weights", small_weights, "-q")
    assert "Warning: png.nii.gz" in result.stderr
    assert "HU" in result.stderr


def test_bad_requests(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "--weights", small_weights, "-o", "out")
    assert "did you mean liver" in fails(*base, "-c", "livr")
    assert "overlap" in fails(*base, "-c", "liver", "--overlap", "1.0")
    assert "Unknown engine" in fails(*base, "--engine", "turbo")
    assert "Cannot use device" in fails(*base, "--device", "cuda:77")
    assert "cannot share" in fails("segment", scan_file, small_weights, "--weights", small_weights, "-o", "x.nii.gz")
    assert not Path("out").exists()


def test_bad_weights(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    base = ("segment", scan_file, "-c", "liver", "-o", "out")
    message = fails(*base)
    assert "umlite weights pull unet" in message
    assert "umlite weights convert" in message
    assert message.count("\n") == 1
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(small_weights.read_bytes()[:5000])
    assert "cut short" in fails(*base, "--weights", cut)
    torch.save({"net": {}}, tmp_path / "net.pth")
    assert "umlite weights convert" in fails(*base, "--weights", "net.pth")
    assert "No weights file" in fails(*base, "--weights", "absent.pth")
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "card" in fails(*base, "--weights", "other.safetensors")
    assert json.loads(run(*base, "--json", code=2).stdout)["exit_code"] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_not_writable(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    message = fails("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "locked/out")
    assert "permission denied" in message


def test_output_in_the_way(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = fails("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "file/out")
    assert "Cannot write" in message


@needs_full_disk
def test_disk_full(scan_file: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, lambda path: path.parent == Path("out"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    message = fails("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "out")
    assert "disk is full" in message
    assert not Path("out").exists()
    assert list(tmp_path.glob("umlite-rescued-*/masks/liver.nii.gz"))


def test_an_empty_output_is_refused(scan_file: Path, small_weights: Path) -> None:
    assert "is empty" in fails("segment", scan_file, "-c", "liver", "--weights", small_weights, "-o", "")


@pytest.mark.parametrize("name", ["z:warning:[bold].nii.gz", "ü 漢.nii.gz", "a\nb.nii.gz", "-dash.nii"])
def test_odd_names(name: str, small_weights: Path) -> None:
    nib.save(make_scan((12, 12, 12)), name)
    result = run("segment", "-c", "liver", "--weights", small_weights, "-o", "out", "--", name)
    assert name.splitlines()[0] in result.stdout
    assert results_in("out") == ["liver.nii.gz"]


# A report that nobody can read costs no scan


def two_scans(**options) -> subprocess.Popen:
    for name in ("ü.nii.gz", "b.nii.gz"):
        nib.save(make_scan((12, 12, 12)), name)
    return umlite("segment", "ü.nii.gz", "b.nii.gz", "-c", "liver", "-o", "out", **options)


def test_a_reader_that_went_away(small_weights: Path, store: Path) -> None:
    store.mkdir()
    shutil.copy(small_weights, store)
    process = two_scans()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 0, errors
    assert sorted(os.listdir("out")) == ["b", "ü"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_another_encoding(small_weights: Path, store: Path, encoding: str) -> None:
    store.mkdir()
    shutil.copy(small_weights, store)
    process = two_scans(env={**os.environ, "PYTHONIOENCODING": encoding})
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert sorted(os.listdir("out")) == ["b", "ü"]


# Weights


def test_convert_list_and_use(tmp_path: Path, store: Path) -> None:
    model = small_model(classes=3)
    torch.save({"net": published_state(model)}, tmp_path / "mine.pth")
    assert "--class-names" in fails("weights", "convert", "mine.pth")
    names = "liver,pancreas_tumor,my_organ"
    result = run("weights", "convert", "mine.pth", "--class-names", names, "--license", "CC0", "--json", "--no-check")
    data = json.loads(result.stdout)
    assert data["file"] == str(store / "mine.safetensors")
    assert data["classes"] == names.split(",")
    assert "exists already" in fails("weights", "convert", "mine.pth", "--class-names", names)
    listed = [w for w in json.loads(run("weights", "list", "--json").stdout)["weights"] if w["name"] != "demo"]
    assert [(w["name"], w["classes"], w["license"]) for w in listed] == [("mine", 3, "CC0")]
    assert "CC0" in run("weights", "list").stdout
    assert "my_organ" in run("classes", "--weights", "mine").stdout
    Path("names.txt").write_text(names.replace(",", "\n"))
    for given in (names, "@names.txt"):  # too few for the check
        run("weights", "convert", "mine.pth", "-o", "other.safetensors", "--class-names", given, "--overwrite")
    assert "--class-names" in fails("weights", "convert", "mine.pth", "--class-names", "@none.txt", "--overwrite")
    assert "--class-names" in fails("weights", "convert", "mine.pth", "--class-names", "", "--overwrite")
    assert Path("other.safetensors").exists()
    assert "ends in .safetensors" in fails("weights", "convert", "mine.pth", "-o", "x.bin", "--class-names", names)


def test_list_when_there_are_none_or_a_damaged_one(store: Path) -> None:
    assert "umlite weights pull" in run("weights", "list").stdout
    store.mkdir()
    (store / "bad.safetensors").write_bytes(b"x" * 50)
    assert "Cannot read" in run("weights", "list").stdout


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"net": Payload()}, tmp_path / "evil.pth")
    assert "refused" in fails("weights", "convert", "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_pull_needs_the_licence_accepted(store: Path) -> None:
    message = fails("weights", "pull", "unet")
    assert "CC BY-NC-ND 4.0" in message
    assert "--accept-license" in message
    assert not store.exists()
    assert "expected unet or swin_unetr" in fails("weights", "pull", "resnet", "--accept-license")


# The rest


def test_classes() -> None:
    result = run("classes")
    assert "portal_vein_and_splenic_vein" in result.stdout
    assert "adrenal_glands" in result.stdout
    data = json.loads(run("classes", "--json").stdout)
    assert len(data["classes"]) == 32
    assert data["groups"]["kidneys"] == ["right_kidney", "left_kidney"]


def test_info() -> None:
    data = json.loads(run("info", "--json").stdout)
    assert data["torch"] == torch.__version__
    assert data["engine"] == "fast"
    assert len(data["reasons"]) >= 3
    assert "reference" in run("info", "--engine", "reference").stdout


def umlite(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "umlite", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", **options
    )


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from umlite.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch','numpy','nibabel'} & sys.modules.keys()))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.endswith("[]\n")
    assert "not a medical device" in " ".join(output.split())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['umlite', '--help']; from umlite.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'nibabel', 'scipy', 'pydicom', 'highdicom', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    output, _ = umlite("--version").communicate()
    assert re.fullmatch(r"umlite \d+\.\d+\.\d+\S*\n", output)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, small_weights: Path, number: int, code: int) -> None:
    nib.save(make_scan((160, 160, 160)), tmp_path / "large.nii.gz")
    process = umlite("segment", "large.nii.gz", "--weights", small_weights, "-o", "out", "--overlap", "0.9")
    time.sleep(6)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Interrupted: no partial file was left." in errors
    assert "Traceback" not in errors
    assert sorted(os.listdir(tmp_path)) == ["large.nii.gz"]


@pytest.mark.parametrize("option", ["-c", "--classes", "--series", "--with"])
def test_a_list_that_is_given_twice_is_refused(scan_file: Path, small_weights: Path, option: str) -> None:
    said = fails("segment", scan_file, "--weights", small_weights, option, "liver", option, "spleen")
    assert "given more than once: join its values with commas" in said


def test_files_of_other_weights_that_stay_are_told(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    model = small_model(seed=1)
    save_model(other, model.state_dict(), small_card(model))
    base = ("segment", scan_file, "-c", "liver", "-o", "out")
    run(*base, "--weights", small_weights, "--statistics")
    said = run(*base, "--weights", other, "--overwrite").stderr
    assert "lesions.csv, statistics.csv, statistics.json stayed from an earlier run that differs in: " in said
    assert "stayed" not in run(*base, "--weights", other, "--statistics", "--overwrite").stderr
