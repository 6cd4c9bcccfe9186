"""Reports in a real browser: scrolling, pointing, classes, tables, keyboard, fingers, orientations."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.chromium import Browser
from support.pages import LIVER, READY, TUMOR, number, pixels_of
from support.reports import LESION_SLICE, LIVER_HU, save_report, small_result
from support.segmentations import segmentation_of
from umlite.products.pictures.preview import draw_preview
from umlite.volume.voxels import HeldVoxels


def test_it_begins_at_the_largest_lesion_and_says_what_is_there(page: Browser) -> None:
    assert number(page) == LESION_SLICE
    text = page.run("document.getElementById('readout').textContent")
    assert text.startswith("liver_tumor, liver; about ")
    assert 45 < int(text.split("about ")[1].split()[0]) < 75  # one slice between others, and lossy
    page.run("document.querySelector('button[data-voxel]').click()")
    text = page.run("document.getElementById('readout').textContent")
    assert abs(int(text.split("about ")[1].split()[0]) - LIVER_HU) < 12  # lossy


def test_wheel_keys_and_slider_scroll(page: Browser) -> None:
    page.wheel("#plane_axial", 2)
    assert number(page) != LESION_SLICE
    page.run("document.getElementById('plane_axial').focus()")
    page.press("Home")
    assert number(page) == 0
    page.press("PageUp", "PageUp", "PageDown")
    assert number(page) == 1
    before = number(page, "sagittal")
    page.press("ArrowLeft")
    assert number(page, "sagittal") == before + 1  # to the patient's right: RAS grows
    page.run("document.getElementById('slice_coronal').focus()")
    before = number(page, "coronal")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    assert number(page, "coronal") == before + 1


def test_a_lesion_leads_to_its_slice(page: Browser) -> None:
    page.run("document.getElementById('plane_axial').focus()")
    page.press("Home")
    page.click("#lesions tbody tr:nth-child(2) button")
    assert number(page) == 12
    page.click("#lesions tbody tr:nth-child(1) button")
    assert number(page) == LESION_SLICE
    assert page.run("document.activeElement.id") == "plane_axial"


def test_the_mouse_moves_the_crosshair_and_changes_the_window(page: Browser) -> None:
    x, y = page.centre("#plane_axial")
    page.drag((x, y), (x - 100, y))
    assert number(page, "sagittal") > 30  # the patient's right is on the left
    page.drag((x, y), (x + 50, y), button="right")
    assert int(page.run("document.getElementById('width').value")) == 500
    page.run(
        "(() => { const s = document.getElementById('window'); s.selectedIndex = 4;"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert page.run("document.getElementById('level').value") == "-600"


def test_classes_go_off_and_on_fill_and_fade(page: Browser) -> None:
    outlined = len(pixels_of(page, LIVER))
    assert outlined > 100
    page.click("input[data-bit='0']")
    assert pixels_of(page, LIVER) == []
    assert len(pixels_of(page, TUMOR)) > 20
    page.click("#all_off")
    assert pixels_of(page, TUMOR) == []
    page.click("#all_on")
    page.click("#filled")
    assert len(pixels_of(page, LIVER)) > 3 * outlined
    page.run(
        "(() => { const o = document.getElementById('opacity'); o.value = 40; o.dispatchEvent(new Event('input')); })()"
    )
    assert pixels_of(page, LIVER) == []
    assert page.run("document.querySelector('input[data-bit=\"2\"]').disabled")  # the bladder was not found


def test_tables_sort(page: Browser) -> None:
    def names() -> list[str]:
        return page.run(
            "Array.from(document.querySelectorAll('#statistics tbody tr td:first-child'), c => c.innerText)"
        )

    page.click("#statistics th:nth-child(2) button")
    assert [name.strip() for name in names()] == ["bladder", "liver_tumor", "spleen", "liver"]
    page.click("#statistics th:nth-child(2) button")
    assert names()[0].strip() == "liver"
    assert page.run("document.querySelector('#statistics th:nth-child(2)').ariaSort") == "descending"
    page.click("#statistics th:nth-child(4) button")
    assert names()[-1].strip() == "bladder"  # it has no HU


def test_the_keyboard_reaches_everything_and_leaves_again(page: Browser) -> None:
    page.run("document.body.focus()")
    seen: list[str] = []
    for _ in range(60):
        page.press("Tab")
        seen.append(page.run("document.activeElement.id || document.activeElement.tagName"))
        if seen[-1] == "BODY":
            break
    assert seen[-1] == "BODY", seen
    wanted = ["theme", "plane_axial", "slice_axial", "plane_sagittal", "window", "level", "opacity", "all_on"]
    assert [name for name in seen if name in wanted] == wanted


def test_everything_that_takes_the_focus_has_a_name(page: Browser) -> None:
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        node for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] != "RootWebArea"
    ]  # fmt: skip
    assert len(focusable) > 30
    assert [node for node in focusable if not node.get("name", {}).get("value")] == []


def test_a_narrow_screen_has_one_column_and_takes_fingers(page: Browser) -> None:
    page.view(360, 700, touch=True)
    page.painted()
    assert page.run("document.documentElement.scrollWidth") <= 360
    left = "Array.from(document.querySelectorAll('canvas'), c => c.getBoundingClientRect().left)"
    assert len(set(page.run(left))) == 1
    before = number(page)
    page.swipe("#plane_axial", 50)
    assert number(page) == before + 5
    page.swipe("#plane_axial", 40, fingers=2)
    assert number(page) == before + 5
    assert page.run("document.getElementById('level').value") != "40"
    page.view(1200, 1000)


def test_colours_follow_the_system_until_one_chooses(page: Browser) -> None:
    theme = "document.documentElement.dataset.theme"
    assert page.run(theme) == "light"
    page.view(1200, 1000, dark=True)
    page.painted()
    assert page.run(theme) == "dark"
    page.click("#theme")
    assert page.run(theme) == "light"
    page.view(1200, 1000)


def test_it_prints_on_white_without_controls(page: Browser) -> None:
    page.send("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.send("Emulation.setEmulatedMedia", media="")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("Array.from(document.querySelectorAll('details')).every(d => d.open)")


@pytest.mark.parametrize("axes", ["PIL", "LSA"])
def test_the_order_of_storage_changes_no_picture(window: Browser, report: Path, tmp_path: Path, axes: str) -> None:
    def outlines(path: Path) -> list[list[list[int]]]:
        window.view(1200, 1000)
        window.open(path)
        window.wait(READY)
        return [pixels_of(window, LIVER, plane) for plane in ("axial", "coronal", "sagittal")]

    assert outlines(save_report(tmp_path / "turned.html", small_result(axes))) == outlines(report)


def test_a_tilted_scan_is_drawn_in_its_true_shape(window: Browser, tmp_path: Path) -> None:
    path = save_report(tmp_path / "scan.html", small_result(lean_mm=1.0))
    assert "The scan is tilted or oblique" in path.read_text()
    window.view(1200, 1000)
    window.open(path)
    window.wait(READY)
    places = pixels_of(window, LIVER, "sagittal")
    rows = sorted({y for _, y in places})
    high, low = rows[len(rows) // 4], rows[-len(rows) // 4]  # the sides of the liver, without crosshair and tumours
    left = {row: min(x for x, y in places if y == row) for row in (high, low)}
    assert (left[low] - left[high]) / (low - high) == pytest.approx(1 / 4, abs=0.1)  # slices are 4 mm thick
    for side in ("left", "right"):  # what is pressed is what is shown
        x, y = window.centre("#plane_sagittal")
        window.drag((x, y), (x + (40 if side == "left" else -40), y - 60))
        numbers = number(window), number(window, "coronal")
        shown = window.run("document.getElementById('readout').textContent")
        place = [float(mm) for mm in re.findall(r"at (\S+), (\S+), (\S+) mm", shown)[0]]
        assert place[2] == pytest.approx(100 + 4 * numbers[0], abs=0.06)
        assert place[1] == pytest.approx(-48 + 2 * numbers[1] + numbers[0], abs=0.06)


@pytest.mark.parametrize("shape", [(20, 20, 1), (1, 30, 40), (300, 3, 3)])
def test_thin_scans_of_one_hu_are_shown(window: Browser, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[:1, :2, :1] = True
    masks = {"liver": mask, "liver_tumor": mask}
    result = segmentation_of(masks, np.full(shape, 50, np.int16), np.diag([2.0, 2, 3, 1]))
    assert draw_preview(result).width >= 900
    window.open(save_report(tmp_path / "scan.html", result))
    window.wait(READY)
    window.painted()
    assert window.complaints() == []
    assert "liver_tumor, liver; about 50 HU" in window.run("document.getElementById('readout').textContent")


def test_a_scan_of_few_hu_is_seen(window: Browser, tmp_path: Path) -> None:
    result = small_result()
    hu = (result.scan.hu.astype("float32") + 1000) / 1110
    window.open(save_report(tmp_path / "scan.html", replace(result, scan=replace(result.scan, voxels=HeldVoxels(hu)))))
    window.wait(READY)
    window.painted()
    assert re.search(r"about 0\.9\d? HU", window.run("document.getElementById('readout').textContent"))
    assert window.run("document.getElementById('window').selectedOptions[0].textContent") == "Everything"
    assert 1000 < len(pixels_of(window, (235, 235, 235))) < 200_000  # the body, and not the air
