"""What a report shows in a browser."""

from __future__ import annotations

import json

from bench.chromium import Browser

READY = "performance.getEntriesByName('all pictures').length"
LIVER, TUMOR = (216, 152, 75), (255, 235, 0)


def number(page: Browser, plane: str = "axial") -> int:
    """The slice that a plane says it shows."""
    page.painted()
    return int(page.run(f"document.getElementById('number_{plane}').textContent").split()[0])


def pixels_of(page: Browser, color: tuple[int, int, int], plane: str = "axial") -> list[list[int]]:
    """Places of a colour on a canvas, [x, y]."""
    page.painted()
    return page.run(
        f"""(() => {{
        const canvas = document.getElementById('plane_{plane}');
        const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const found = [];
        for (let i = 0; i < data.length; i += 4)
            if ({json.dumps(color)}.every((c, k) => Math.abs(data[i + k] - c) < 3))
                found.push([(i / 4) % canvas.width, Math.floor(i / 4 / canvas.width)]);
        return found; }})()"""
    )
