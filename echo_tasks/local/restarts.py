"""What became of the Procfile's processes so far: each one's keeper writes it down, and `status` reads it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from echo_tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a process was started again, why and when (seconds since the epoch) the last time.

    `keeper_pid` is the process that wrote this; `verdict` is why it does not try any more, once it does not. `replaced`
    is how often an update has replaced the process; below 0: its keeper is of an older release, and does not do that.
    """

    name: str
    keeper_pid: int
    count: int = 0
    reason: str = ""
    at: float = 0.0
    verdict: str = ""
    replaced: int = -1

    @classmethod
    def of(cls, name: str) -> Restarts:
        """Of a process that this one keeps from now on."""
        return cls(name, os.getpid(), replaced=0)

    def with_past_of(self, known: Restarts) -> Restarts:
        """The same with what became of it so far, as another supervisor has written it down."""
        return replace(known, keeper_pid=self.keeper_pid, verdict="")

    def and_one(self, reason: str) -> Restarts:
        """One restart more, now."""
        return replace(self, count=self.count + 1, reason=reason, at=time.time())

    def __str__(self) -> str:
        if not self.count:
            return "never restarted"
        times = "once" if self.count == 1 else f"{self.count} times"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"restarted {times}, last at {when} ({self.reason})"


def write(restarts: Restarts, settings: Settings) -> None:
    """Put the record in the place of the one before. Raises OSError."""
    path = _folder(settings) / f"{restarts.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(asdict(restarts)))
    new.replace(path)


def read(settings: Settings) -> list[Restarts]:
    """The records of all processes, by name; of farms that have ended, too."""
    found = []
    for path in sorted(_folder(settings).glob("*.json")):
        try:
            found.append(Restarts(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):  # cut short by a full disk, or by another version
            continue
    return found


def forget(name: str, settings: Settings) -> None:
    """Take a record away: there is no such process any more, and that is right. Raises OSError."""
    (_folder(settings) / f"{name}.json").unlink(missing_ok=True)


def _folder(settings: Settings) -> Path:
    return settings.echo_var / "run"
