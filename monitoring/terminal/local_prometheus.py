"""A Prometheus of this machine's, with our configuration, for as long as whoever started it lives."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from echo_tasks.local import children, places
from echo_tasks.local.servers import port_is_free
from echo_tasks.settings import Settings, load

PROGRAM = "prometheus"
CONFIGURATION = Path(__file__).resolve().parent.parent / "prometheus" / "prometheus.yml"
"""For the default ports; `configuration` makes one for any."""

RETENTION = {"time": "15d", "size": "1GB"}
"""Whichever is reached first. Alerts that know last week's values need a week, and a day to spare."""

ENDING_S = 10
"""How long it gets to write down what it has in memory."""


class LocalPrometheus:
    """One that was started, or was not, and why."""

    def __init__(
        self, child: subprocess.Popen[bytes] | None = None, log: Path | None = None, why_not: str = ""
    ) -> None:
        self._child = child
        self._log = log
        self._why_not = why_not

    def in_words(self) -> str:
        """Why there is none, in a clause; empty while it runs."""
        if self._child is None or self._child.poll() is None:
            return self._why_not
        return f"ended with {children.in_words(self._child.returncode)}: {self._last_words()}"

    def end(self) -> None:
        """End it, if it was started. Blocks until it has ended."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n") if self._log else []
        return next((line for line in reversed(lines) if line), "it said nothing")


@contextmanager
def running(settings: Settings) -> Iterator[LocalPrometheus]:
    """One that runs until the block ends, if it can. To be used in the main thread: when that dies, it ends, too."""
    started = _started(settings)
    try:
        yield started
    finally:
        started.end()


def _started(settings: Settings) -> LocalPrometheus:
    if (program := shutil.which(PROGRAM)) is None:
        return LocalPrometheus(why_not="not installed")
    if not port_is_free(settings.prometheus_port):
        return LocalPrometheus(why_not=f"port {settings.prometheus_port} is taken: set PROMETHEUS_PORT")
    folder = settings.echo_var.resolve() / "prometheus"
    log = settings.echo_var / "log" / "prometheus.log"
    try:
        for needed in (folder, log.parent):
            needed.mkdir(parents=True, exist_ok=True)
        (folder / CONFIGURATION.name).write_text(configuration(CONFIGURATION.read_text(), settings))
        with log.open("wb") as output:
            command = [program, *arguments(folder, settings)]
            return LocalPrometheus(children.start_for_as_long_as_we_live(command, output.fileno()), log)
    except OSError as error:
        return LocalPrometheus(why_not=f"cannot be started: {error.filename or program}: {error.strerror}")


def configuration(text: str, settings: Settings) -> str:
    """The configuration for the places of these settings, to be read from any folder."""
    defaults = load({})
    moved = {
        urlsplit(place(defaults)).netloc: urlsplit(place(settings)).netloc
        for place in (places.api, places.controller, places.exporter, places.prometheus)
    }
    text = re.sub(r"[\w.]+:\d+\b", lambda found: moved.get(found[0], found[0]), text)
    return re.sub(r"(?m)^( *- )(rules/)", rf"\1{CONFIGURATION.parent}/\2", text)


def arguments(folder: Path, settings: Settings) -> list[str]:
    """What it is started with: on loopback, its data bounded, in a folder of the farm's."""
    return [
        f"--config.file={folder / CONFIGURATION.name}",
        f"--storage.tsdb.path={folder / 'data'}",
        *(f"--storage.tsdb.retention.{kind}={bound}" for kind, bound in RETENTION.items()),
        f"--web.listen-address=127.0.0.1:{settings.prometheus_port}",
        "--log.level=warn",
    ]
