"""A process that has imported what a worker imports, and forks one whenever a line on its standard input asks for it.

Importing torch and Celery takes two seconds of processor time, most of what a worker's start takes. A forked worker is
`celery -A echo_tasks worker` in every other respect: its own process, environment, folder, log and exit status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IMPORTED = ("celery.bin.celery", "celery.bin.worker", "celery.apps.worker", "celery.worker.consumer", "torch")
IMPORTED += ("echo_tasks.celery", "workers.runtime", "workers.visibility", "workers.watchdog", "workers.farewell")
READ_BY_IMPORTS = frozenset({"AUTOSCALE_KEEPALIVE"})
"""Variables that some of it reads when it is imported: a worker that has one cannot be forked."""


class Zygote:
    """The process as a test sees it. Threads may share it."""

    def __init__(self, python: str, root: Path, env: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [python, str(Path(__file__))],
            cwd=root,
            env={**env, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, argv: list[str], env: Mapping[str, str], log: Path) -> Forked:
        """A new worker."""
        return Forked(self, self.ask({"argv": argv, "env": dict(env), "log": str(log)}))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The answer to one request."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

    def end(self) -> None:
        """End it: nothing more is asked."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


class Forked:
    """A forked process, as `subprocess.Popen` would show it."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._zygote = zygote

    def poll(self) -> int | None:
        """Its exit status, once it has ended; that of a signal is negative."""
        if self.returncode is None:
            self.returncode = self._zygote.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        began = time.monotonic()
        while (status := self.poll()) is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired("a forked worker", timeout)
            time.sleep(0.02)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def main() -> None:
    """Import, and serve requests until there are no more; in a forked process, run the worker."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return _worker(request)
        print(json.dumps(answer), flush=True)


def _worker(request: Mapping[str, Any]) -> None:
    from celery.__main__ import main as celery  # noqa: PLC0415

    for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (request["log"], os.O_WRONLY | os.O_APPEND)]):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = request["argv"]
    random.seed()  # or all workers would draw the same numbers
    celery()


if __name__ == "__main__":
    main()
