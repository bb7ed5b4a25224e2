"""What outlives the supervisor, as the supervisor sees it: in the hands of its guard, of whichever one lives."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from echo_tasks.local import guard

GUARD_S = 5.0
"""How long a guard may take to answer before it is taken for dead."""


class Guarded:
    """What outlives this supervisor, in the hands of its guard: of whichever one lives."""

    def __init__(self, link: socket.socket | None = None, kept: guard.Kept | None = None) -> None:
        """A guard that has started this supervisor has handed over what is `kept`."""
        self.kept: guard.Kept = kept or {}
        self.is_dead = False
        """Whether the guard is, and another one has to be told all."""
        self._pid = os.getppid()  # of the guard, if that has started this supervisor
        self._link = link or self._engage()

    def fileno(self) -> int:
        """Readable when the guard is dead."""
        return self._link.fileno()

    def keep(self, name: str, word: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Have something outlive this supervisor; what was kept under its name is forgotten."""
        self.kept[name] = json.dumps(word), list(descriptors)
        self._tell({"name": name, "word": self.kept[name][0]}, descriptors)

    def forget(self, name: str) -> None:
        """Have it end with this supervisor; the descriptors here are the caller's to close."""
        if self.kept.pop(name, None) is not None:
            self._tell({"name": name})

    def word(self, name: str) -> dict[str, Any]:
        """What was told of something; nothing of what is not kept."""
        return json.loads(self.kept[name][0]) if name in self.kept else {}

    def end(self) -> None:
        """Have no successor."""
        with suppress(OSError):
            self._link.send(b'{"end": true}')
        self._link.close()

    def revive(self) -> None:
        """Have another guard, which is told all, in the place of one that is dead, or does not answer."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # one that was only stopped would start another supervisor
        self._link.close()
        try:
            self._link, self.is_dead = self._engage(), False
        except OSError:
            self.is_dead = True

    def _tell(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            guard.send(self._link, message, list(descriptors))
        except OSError:
            self.is_dead = True

    def _engage(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            engaged = subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, "-m", "echo_tasks.local.guard", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._pid = engaged.pid
        ours.settimeout(GUARD_S)
        for name, (word, descriptors) in self.kept.items():
            guard.send(ours, {"name": name, "word": word}, descriptors)
        return ours
