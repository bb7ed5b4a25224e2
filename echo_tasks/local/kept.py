"""One process that is started again whenever it dies, as the supervisor sees it: nothing here waits."""

from __future__ import annotations

import enum
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from echo_tasks import machine
from echo_tasks.errors import EX_CONFIG, EX_TEMPFAIL
from echo_tasks.local import children, restarts
from echo_tasks.local.backoff import Backoff
from echo_tasks.local.children import Child
from echo_tasks.local.launching import Launcher
from echo_tasks.local.restarts import Restarts
from echo_tasks.settings import Settings

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})

_EX_NOT_FOUND = 127
"""What a shell says of a program that is not there."""

SETTLED_AFTER = 5
"""A successor that lives for so many first pauses is let take over: one that cannot start has ended by then."""


class Why(enum.Enum):
    """Why a process is not started again."""

    TOLD = enum.auto()
    """It, or its pause, was told to end."""
    LEFT = enum.auto()
    """It ended with status 0, and is one that may."""
    MISCONFIGURED = enum.auto()
    """The next start would end the same."""
    HOPELESS = enum.auto()
    """It has died again and again without ever having been healthy."""
    NO_ROOM = enum.auto()
    """It has found too little memory, or the kernel has killed it for that: fewer others may help."""


@dataclass(frozen=True, slots=True)
class End:
    """What became of a process for good."""

    why: Why
    exit_status: int


class Kept:
    """Starts the command when that is due, passes signals on to it, and writes its restarts down under `record`.

    What a supervisor before this one has started goes on. `is_one_of_many`: ending with status 0 is its own decision,
    and is respected, and so is its want of room; where the status is unknown, `is_drained` says whether it was asked
    to end. `door` is the number of a listening socket of ours that it takes connections from.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings,
        launcher: Launcher,
        now: float,
        *,
        record: str = "",
        is_one_of_many: bool = False,
        is_drained: Callable[[], bool] = lambda: False,
        door: int | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._settings = settings
        self._launcher = launcher
        self._is_one_of_many = is_one_of_many
        self._is_drained = is_drained
        self._door = door
        self._past = Backoff(settings.restart_pause_s)
        self._restarts = Restarts.of(record or name)
        self._child: Child | None = None
        self._began = 0.0
        self._killed_for_memory = machine.killed_for_memory()
        self._starts_at = -math.inf
        self._was_told = False
        self._is_replaced = False
        self._predecessor: Child | None = None
        self._settles_at = math.inf
        self._end: End | None = None
        self._adopt(now)
        self._write_down()

    def turn(self, now: float) -> End | None:
        """Start it if that is due, and see to it if it has ended; what became of it, once it is not tried again."""
        if self._end is None and self._child is None and now >= self._starts_at:
            self._start(now)
        if self._child is not None and (returncode := self._child.poll()) is not None:
            self._see_to(self._child, returncode, now)
        if self._predecessor is not None:
            self._relieve(self._predecessor, now)
        return self._end if self._predecessor is None else None

    def replace(self, now: float) -> None:
        """Have another one in its place: one that takes from the same door meanwhile, or one that comes afterwards."""
        if self._child is None or self._predecessor is not None or self._was_told:
            return
        self._is_replaced = True
        if self._door is None:
            self._child.send_signal(signal.SIGTERM)
        else:
            self._launcher.rename(self.name, self._before)
            self._predecessor, self._settles_at = self._child, now + SETTLED_AFTER * self._past.first_pause_s
            self._start(now)

    def tell(self, number: int) -> None:
        """Pass a signal on. Between two starts one that is to stop it is its end."""
        is_to_stop = number in STOPPING
        self._was_told = self._was_told or is_to_stop
        for process in filter(None, (self._child, self._predecessor)):
            process.send_signal(number)
        if self._child is not None:
            return
        if is_to_stop and self._end is None:
            self._end = End(Why.TOLD, 128 + number)

    def pause_s(self, now: float) -> float:
        """Seconds until it is to be started, or takes over; infinite while there is nothing to do."""
        due_at = self._settles_at if self._child is not None else self._starts_at
        return max(0.0, due_at - now)

    @property
    def is_well(self) -> bool:
        """Whether it has been healthy, or runs and has not died yet: what it is started with is no fault of all."""
        return self._past.was_healthy or (self._child is not None and not self._past.early_deaths)

    @property
    def _before(self) -> str:
        """The name by which a predecessor is known."""
        return f"{self.name}-before"

    def _adopt(self, now: float) -> None:
        """Take over what a supervisor before this one has started, and its past."""
        if known := next((one for one in restarts.read(self._settings) if one.name == self._restarts.name), None):
            self._restarts = self._restarts.with_past_of(known) if self._launcher.has(self.name) else self._restarts
        if adopted := self._launcher.adopt(self._before):
            self._predecessor, self._settles_at = adopted[0], now
        if adopted := self._launcher.adopt(self.name):
            self._child, ran_s = adopted
            self._began = now - ran_s

    def _start(self, now: float) -> None:
        try:
            self._child = self._launcher.start(self.name, self._command, () if self._door is None else (self._door,))
        except OSError as error:
            self.say(f"cannot be started: {self._command[0]}: {error.strerror}")
            self._end = End(Why.MISCONFIGURED, _EX_NOT_FOUND)
            return
        self._began, self._killed_for_memory = now, machine.killed_for_memory()

    def _see_to(self, child: Child, returncode: int, now: float) -> None:
        """The process has ended: that was all, or there is to be another one after a pause."""
        children.end_descendants(child)
        last_lines = self._launcher.ended(self.name)
        self._child = None
        if self._is_replaced and not self._was_told:
            return self._after_replacing(returncode, now)
        self._past = self._past.after(now - self._began)
        is_for_memory = returncode == -signal.SIGKILL and machine.killed_for_memory() > self._killed_for_memory
        reason = children.in_words(returncode) + (", since memory ran out" if is_for_memory else "")
        if why := self._why_no_other(returncode, is_for_memory=is_for_memory):
            self._end = End(why, children.exit_status(returncode))
        if why is Why.HOPELESS:
            self._give_up(reason, last_lines)
        if why is Why.NO_ROOM:
            self.say(f"has ended ({reason})")
        if why is None:
            self._starts_at = now + self._past.pause_s
            self._announce_restart(reason)

    def _after_replacing(self, returncode: int, now: float) -> None:
        """The process has ended for its successor; or a successor has, before it could take over."""
        self._is_replaced = False
        if self._predecessor is None:
            self._starts_at = now
            return self._note_replaced()
        self._launcher.rename(self._before, self.name)
        self._child, self._predecessor, self._settles_at = self._predecessor, None, math.inf
        self.say(f"goes on: its successor has ended ({children.in_words(returncode)})")

    def _relieve(self, predecessor: Child, now: float) -> None:
        """Tell a predecessor to end, once its successor has settled, and see to its end."""
        if now >= self._settles_at:
            self._settles_at = math.inf
            predecessor.send_signal(signal.SIGTERM)
        if predecessor.poll() is not None:
            children.end_descendants(predecessor)
            self._launcher.ended(self._before)
            self._predecessor, self._settles_at, self._is_replaced = None, math.inf, False
            self._note_replaced()

    def _note_replaced(self) -> None:
        self.say("is replaced")
        self._restarts = replace(self._restarts, replaced=self._restarts.replaced + 1)
        self._write_down()

    def _why_no_other(self, returncode: int, *, is_for_memory: bool) -> Why | None:
        if self._was_told:
            return Why.TOLD
        if returncode == EX_CONFIG:
            return Why.MISCONFIGURED
        if self._is_one_of_many and returncode == 0:
            return Why.LEFT
        if returncode == children.UNKNOWN and self._is_drained():
            return Why.LEFT
        if self._is_one_of_many and (is_for_memory or returncode == EX_TEMPFAIL):
            return Why.NO_ROOM
        return Why.HOPELESS if self._past.is_hopeless else None

    def _give_up(self, reason: str, last_lines: Sequence[str]) -> None:
        verdict = self.say(
            f"has ended {self._past.early_deaths} times without ever running for {self._past.longest_pause_s:g} s, "
            f"at last with {reason}: it is not started any more. Its last lines:",
            *(f"    {line}" for line in last_lines),
        )
        self._restarts = replace(self._restarts, verdict=verdict)
        self._write_down()

    def _announce_restart(self, reason: str) -> None:
        self.say(f"has ended ({reason}); it is started again in {self._past.pause_s:g} s")
        self._restarts = self._restarts.and_one(reason)
        self._write_down()

    def _write_down(self) -> None:
        try:
            restarts.write(self._restarts, self._settings)
        except OSError as error:  # a full disk is no reason to let the process down
            self.say(f"is kept alive, but its restarts cannot be written down: {error}")

    def say(self, first: str, *others: str) -> str:
        """Tell what there is to say of the process, where its own lines are; returns it."""
        lines = [f"{self.name} {first}", *others]
        for line in lines:
            self._launcher.say(self.name, line)
        return "\n".join(lines)
