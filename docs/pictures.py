"""Makes the README's pictures again: `python docs/pictures.py`, where chromium and the extra `bench` are installed.

A farm of its own, on the default ports, is put under load for a minute. Flower's pages are what a headless browser
shows of them; the terminal's is what `./quick-start.sh monitor` draws, with a local Prometheus where there is one.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console

from bench.site import Site, farm
from echo_tasks.local import places
from echo_tasks.settings import Settings, default_of, load
from monitoring.terminal import local_prometheus
from monitoring.terminal.drawing import draw
from monitoring.terminal.observer import Observer
from monitoring.terminal.pages import pages
from monitoring.terminal.view import view
from monitoring.terminal.window import EVERY_S, WINDOW

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS, ROWS = 100, 30
COLOURS = 256
"""Enough for a page, at half the bytes."""

LOAD_S = 60
CLIENTS = 12
THINKING_S = 1.0

SETTINGS = {
    **{name.upper(): default_of(name) for name in Settings.model_fields if name.endswith("_port")},
    "AUTO_SCALING_ENABLED": "true",
    "MIN_INSTANCES": "1",
    "MAX_INSTANCES": "2",
    "HEALTH_CHECK_INTERVAL": "5",
}

NAMES = ("Zorla", "Quint", "Brimo", "Talvi", "Osk", "Merle", "Ansgar", "Yuna")


def main() -> None:
    """Write all pictures. Raises RuntimeError where there is no chromium."""
    browser = shutil.which("chromium")
    if browser is None:
        raise RuntimeError("chromium is needed")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = load(SETTINGS | {"ECHO_VAR": f"{folder}/var"})
        site = Site(settings.api_port, settings.broker)
        with farm(Path(folder), SETTINGS), local_prometheus.running(settings), _load(site):
            time.sleep(LOAD_S)
            _terminal(browser, settings, Path(folder))
            flower = places.flower(settings)
            _page(browser, f"{flower}/workers", IMAGES / "flower-workers.png", 1280, 500)
            _page(browser, f"{flower}/tasks", IMAGES / "flower-tasks.png", 1280, 740)


@contextmanager
def _load(site: Site) -> Iterator[None]:
    """Clients that talk, each in a session of its own, until the block ends."""
    is_over = threading.Event()

    def client(number: int) -> None:
        turn = 0
        while not is_over.is_set():
            name = NAMES[(number + turn) % len(NAMES)]
            texts = (f"My name is {name}.", "What is my name?", f"What is {turn} plus {number}?")
            often_asked = {"input_text": f"What is {turn % 7} plus two?"}
            body = {"session_id": f"client-{number}", "input_text": texts[turn % 3], "priority": 1 + number % 10}
            site.job(body if number % 3 else often_asked)
            turn += 1
            is_over.wait(THINKING_S)

    clients = [threading.Thread(target=client, args=[number], daemon=True) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in clients:
            thread.join()


def _terminal(browser: str, settings: Settings, folder: Path) -> None:
    """The live view, once it has rates."""
    observer = Observer(settings)
    before = observer.read()
    time.sleep(EVERY_S * (WINDOW - 1))
    now = observer.read()
    observer.close()
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, height=ROWS, force_terminal=True, color_system="truecolor"
    )
    at = f"{time.strftime('%H:%M:%S')} (q ends)"
    console.print(draw(view(before, now), pages(settings, now, ""), at, COLUMNS, ROWS))
    drawn = folder / "monitor.svg"
    text = console.export_svg(title="./quick-start.sh monitor", font_aspect_ratio=0.6)
    drawn.write_text(text)
    width, height = re.search(r'viewBox="0 0 (\d+)[\d.]* (\d+)', text).groups()  # type: ignore[union-attr]
    _page(browser, drawn.as_uri(), IMAGES / "monitor.png", int(width), int(height))


def _page(browser: str, url: str, picture: Path, width: int, height: int) -> None:
    """What the browser shows at the URL once its scripts have run."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--virtual-time-budget=8000", "--force-color-profile=srgb"]
    command += [f"--window-size={width},{height}", f"--screenshot={picture}", url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours alone
    with Image.open(picture) as whole:
        whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main()
