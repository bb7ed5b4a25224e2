"""`python -m monitoring.terminal`: the farm, live, until q; one snapshot with --once, or where there is no terminal."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from rich.console import Console, RenderableType
from rich.live import Live

from echo_tasks import logs
from echo_tasks.local import dotenv
from echo_tasks.settings import Settings, current
from monitoring.terminal import local_prometheus
from monitoring.terminal.drawing import draw
from monitoring.terminal.keyboard import keys
from monitoring.terminal.observer import Observer
from monitoring.terminal.pages import pages
from monitoring.terminal.reading import Reading
from monitoring.terminal.view import view
from monitoring.terminal.window import EVERY_S, Window

_LOOK_S = 0.25
"""How often it is looked whether there is something new to draw."""

_asked_to_end: list[int] = []
"""Statuses to end with, by signals that came; the first one holds."""

_LEFT_OUT = "not started by this view"


def main(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show the farm until there is reason to end."""
    logs.configure()
    console = Console(highlight=False)
    observer = Observer(settings)
    try:
        if arguments.once or not console.is_terminal:
            _snapshot(console, observer, settings)
        elif arguments.no_prometheus:
            _live(console, observer, settings, lambda: _LEFT_OUT)
        else:
            with local_prometheus.running(settings) as prometheus:
                _live(console, observer, settings, prometheus.in_words)
    finally:
        observer.close()


def _snapshot(console: Console, observer: Observer, settings: Settings) -> None:
    before = observer.read()
    time.sleep(EVERY_S)
    at = time.strftime("%H:%M:%S")
    console.print(_drawn(before, observer.read(), settings, _LEFT_OUT, at, console.width, None))


def _live(console: Console, observer: Observer, settings: Settings, prometheus: Callable[[], str]) -> None:
    window = Window(observer.read)
    window.start()
    try:
        with keys() as keys_within, Live(console=console, screen=True, auto_refresh=False) as live:
            shown: object = None
            while not _asked_to_end and not {"q", "Q"} & set(keys_within(_LOOK_S)):
                ends, size = window.ends(), console.size
                if ends is None or (ends, size) == shown:
                    continue
                shown = ends, size
                at = f"{time.strftime('%H:%M:%S')} (q ends)"
                live.update(_drawn(*ends, settings, prometheus(), at, *size), refresh=True)
    finally:
        window.stop()


def _drawn(
    before: Reading, now: Reading, settings: Settings, prometheus: str, at: str, columns: int, rows: int | None
) -> RenderableType:
    return draw(view(before, now), pages(settings, now, prometheus), at, columns, rows)


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m monitoring.terminal", description="The farm, live; q ends it.")
    parser.add_argument("--once", action="store_true", help="print one snapshot and end")
    parser.add_argument("--no-prometheus", action="store_true", help="run no local Prometheus")
    return parser.parse_args(words)


def _end(number: int, _: FrameType | None) -> None:
    """End at once; and by the next look, should this come in a finaliser, which lets no exception out."""
    _asked_to_end.append(0 if number == signal.SIGINT else 128 + number)
    raise SystemExit(_asked_to_end[0])


if __name__ == "__main__":
    asked_for = _arguments(sys.argv[1:])
    dotenv.read()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    main(asked_for, current())
    sys.exit(_asked_to_end[0] if _asked_to_end else 0)
