"""Make the README's moving picture in ComfyUI's own page: `python scripts/make_animation.py`.

The loop that needs no download, as it is seen while it runs. It needs what `make_workflows.py` needs.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from comfyui_checkouts import checkouts
from comfyui_page import Canvas, canvas
from comfyui_server import PACK, Server
from make_workflows import FOLDER
from PIL import Image

NAME = "2-refine-loop-no-download"
FILE = PACK / "docs" / "refine-loop.webp"
# Pixels of the page, of the picture's width, and around the graph.
PAGE, WIDTH, MARGIN = (1700, 1160), 1000, 24
# Milliseconds: between two questions whether it is done; of one picture at least, at most; of the last one.
LOOK, SHORTEST, LONGEST, LAST = 50, 100, 1200, 4000
# A run of a few seconds is too fast to be read.
SLOWER = 2
# Bytes.
LARGEST = 2_000_000


def shots(page: Canvas, clip: tuple[float, float, float, float]) -> list[tuple[Image.Image, int]]:
    """Run the page's workflow; what is seen until a little after its end: pictures, each with its ms."""
    seen: list[tuple[float, bytes]] = []
    browser = page.page.context.new_cdp_session(page.page)

    def look(event: dict[str, Any]) -> None:
        seen.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        browser.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    browser.on("Page.screencastFrame", look)
    browser.send("Page.startScreencast", {"format": "png"})
    prompt = page.queue()
    while not page.server.get(f"/history/{prompt}"):
        page.page.wait_for_timeout(LOOK)
    page.page.wait_for_timeout(1500)
    browser.send("Page.stopScreencast")
    found: list[tuple[Image.Image, int]] = []
    times = [time for time, _ in seen]
    for (time, data), after in zip(seen, [*times[1:], times[-1]], strict=True):
        shot = Image.open(io.BytesIO(data)).convert("RGB").crop(clip)
        shot = shot.resize((WIDTH, round(shot.height * WIDTH / shot.width)), Image.Resampling.LANCZOS)
        passed = round(SLOWER * 1000 * (after - time))
        if found and (found[-1][1] < SHORTEST or found[-1][0].tobytes() == shot.tobytes()):
            passed += found.pop()[1]
        found.append((shot, min(LONGEST, passed)))
    return [*found[:-1], (found[-1][0], LAST)]


def corners(graph: dict[str, Any]) -> tuple[float, float]:
    """Where the groups of a workflow end: right, bottom."""
    boxes = [group["bounding"] for group in graph["groups"]]
    return max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)


def film(page: Canvas) -> list[tuple[Image.Image, int]]:
    """Run the workflow with the whole graph in view."""
    graph = json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
    page.load(graph)
    page.fit()
    right, bottom = corners(graph)
    left, top, scale = page.page.evaluate(
        """() => {
            const box = app.canvas.canvas.getBoundingClientRect(), { offset, scale } = app.canvas.ds
            return [box.x + offset[0] * scale, box.y + offset[1] * scale, scale]
        }"""
    )
    clip = (left - MARGIN, top - MARGIN, left + right * scale + MARGIN, top + bottom * scale + MARGIN)
    # The critic's libraries are read in the first run; what is filmed is a run like any later one.
    page.server.result(page.queue())
    page.server.free()
    # The page remembers results by the workflow's id.
    page.load(graph | {"id": str(uuid.uuid4())})
    page.fit()
    return shots(page, clip)


def main() -> None:
    """Film the loop and write the picture."""
    with tempfile.TemporaryDirectory() as temporary:
        server = Server(checkouts()[0], Path(temporary))
        try:
            with canvas(server, *PAGE) as page:
                page.open()
                frames = film(page)
        finally:
            server.stop()
    images, durations = zip(*frames, strict=True)
    images[0].save(
        FILE, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=70, method=6
    )
    print(f"{FILE.name}: {len(images)} pictures, {sum(durations) / 1000:.0f} s, {FILE.stat().st_size} bytes")
    if FILE.stat().st_size > LARGEST:
        raise SystemExit(f"{FILE.name} is larger than {LARGEST} bytes")


if __name__ == "__main__":
    main()
