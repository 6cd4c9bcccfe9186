"""The pictures of docs/report.md: a report of the demo's phantom, wide and narrow, light and dark, and an index.

python -m recipes.screenshots      # needs Chromium (Debian's chromium-headless-shell)
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from bench.chromium import Browser, browser
from umlite.demo import run_demo
from umlite.outputs.file_set import together
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.report.index import INDEX, write_index
from umlite.products.report.product import Report
from umlite.products.wanted import Wanted

DOCS = Path(__file__).parents[1] / "docs"
SCREENS = {"wide": (1280, 1000), "narrow": (390, 844)}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="umlite-screenshots-") as name:
        folder = Path(name)
        result = run_demo(folder / "demo", say=print).result
        with together(folder) as files:
            finished = Finished(result, wanted=Wanted(checks=True))
            Report(str(folder)).write(files, Place(folder, name="phantom"), finished)
        write_index(folder)
        with browser(folder / "profile") as page:
            for screen, (width, height) in SCREENS.items():
                for dark in (False, True):
                    page.view(width, height, dark=dark, touch=screen == "narrow")
                    page.open(folder / "phantom.html")
                    page.wait("performance.getEntriesByName('all pictures').length")
                    if dark:
                        _at_lesions(page)
                    save(page, f"report_{screen}_{'dark' if dark else 'light'}")
            page.view(1280, 260)
            page.open(folder / INDEX)
            save(page, "report_index")


def _at_lesions(page: Browser) -> None:
    """Filled masks, and the viewer at the top of the window."""
    page.click("#filled")
    opacity = "document.getElementById('opacity')"
    page.run(f"{opacity}.value = 40; {opacity}.dispatchEvent(new Event('input'))")
    page.run("document.getElementById('viewer').scrollIntoView()")


def save(page: Browser, name: str) -> None:
    """The window as a small file in docs/."""
    page.painted()
    path = DOCS / f"{name}.webp"
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=70, method=6)
    print(f"{path} {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
