"""Reports and their index in a real browser: no network, no foreign code, and a word where something is missing."""

from __future__ import annotations

from pathlib import Path

from bench.chromium import Browser
from support.pages import READY, pixels_of
from support.reports import Found, hostile_names, hostile_result, save_report, small_result
from umlite.products.report.index import write_index


def test_it_asks_for_nothing_and_complains_of_nothing(page: Browser, report: Path) -> None:
    assert page.requests() == [report.as_uri()]
    assert page.complaints() == []
    refused = page.run("fetch('https://example.org').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert "Content Security Policy" in page.complaints()[0]


def test_without_scripts_there_are_numbers(window: Browser, report: Path) -> None:
    window.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.send("Page.navigate", url=report.as_uri())  # timers that `wait` needs do not run here
        while window.run("document.readyState") != "complete":
            pass
        assert "JavaScript" in window.run("document.querySelector('noscript').textContent")
        assert window.run("document.querySelector('#statistics tbody').innerText").strip().startswith("liver\t")
        assert window.run("document.getElementById('theme').hidden")
    finally:
        window.send("Emulation.setScriptExecutionDisabled", value=False)


def test_hostile_names_are_only_text(window: Browser, tmp_path: Path) -> None:
    names = hostile_names(100)
    classes, rest = names[:60], names[60:]
    checks = [Found(a, b, {a: b}) for a, b in zip(rest[:10], rest[10:20], strict=True)]
    manifest = {a: {b: [a, b]} for a, b in zip(rest[20:28], rest[28:36], strict=True)}
    save_report(
        tmp_path / "scan.html", hostile_result(classes), checks=checks, manifest=manifest, title=" ".join(rest[36:])
    )
    window.open(tmp_path / "scan.html")
    window.wait(READY)
    window.painted()
    assert window.run("window.hacked") is None
    assert window.complaints() == []
    assert window.requests() == [(tmp_path / "scan.html").as_uri()]
    assert window.run("document.querySelectorAll('img, iframe, base, link, a, [onload], [onerror]').length") == 0
    assert window.run("document.querySelectorAll('script:not([type])').length") == 1
    shown = window.run("Array.from(document.querySelectorAll('#statistics tbody bdi'), e => e.textContent)")
    assert len(shown) == len(classes)
    assert shown[0] == classes[0]
    assert window.run("document.querySelectorAll('.checks > li').length") == 10
    window.click("#statistics tbody tr:nth-child(60) button")
    assert len(pixels_of(window, (99, 255, 0))) > 10  # the 60th class, beyond 32 bits

    write_index(tmp_path)
    window.open(tmp_path / "index.html")
    window.painted()
    assert window.run("window.hacked") is None
    assert window.complaints() == []
    assert window.run("document.querySelectorAll('tbody tr').length") == 1


def test_a_browser_that_changes_pixels_is_told(window: Browser, report: Path) -> None:
    noise = """const read = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...where) {
            const found = read.apply(this, where); found.data.fill(255); return found; };"""
    added = window.send("Page.addScriptToEvaluateOnNewDocument", source=noise)
    window.open(report)
    window.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
    assert window.run("document.getElementById('loading').textContent").startswith("This browser changes the pixels")


def test_an_index_links_and_sorts(window: Browser, report: Path, tmp_path: Path) -> None:
    name = "javascript:x <b>&'\"#?%41.html"
    (tmp_path / name).write_bytes(report.read_bytes())
    save_report(tmp_path / "b.html", small_result(), title="quiet")
    (tmp_path / "other.html").write_text("<html>no report</html>")
    write_index(tmp_path)
    window.view(1200, 1000)
    window.open(tmp_path / "index.html")
    window.painted()
    assert window.complaints() == []
    assert [url for url in window.requests() if not url.startswith("data:")] == [(tmp_path / "index.html").as_uri()]
    rows = "Array.from(document.querySelectorAll('tbody tr td:first-child'), c => c.textContent)"
    assert window.run(rows) == ["image", "quiet"]  # the one with a check first
    window.click("th:first-child button")
    window.click("th:first-child button")
    assert window.run(rows) == ["quiet", "image"]
    assert window.run("document.querySelector('tbody img').naturalWidth") > 50
    window.run("Array.from(document.querySelectorAll('tbody a')).at(-1).click()")
    window.wait(READY)
    assert window.run("document.title") == "image"
