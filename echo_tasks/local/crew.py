"""Keeps as many like processes alive as are wanted: `python -m echo_tasks.local.crew NAME COMMAND…`.

Each is kept as a keeper keeps its one (`keep.py`), and gets a node's name of its own, `-n NAME1@%h`. How many are
wanted is read from a file (`roster.py`): MIN_INSTANCES at first, and within the bounds always. A process that ends with
status 0 has been drained: it is not started again, and one fewer is wanted. The crew ends none for want of work.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Sequence

from echo_tasks.errors import EX_CONFIG, SettingsError, exit_misconfigured
from echo_tasks.local import restarts, waiting
from echo_tasks.local.backoff import LONGEST_PAUSE_S
from echo_tasks.local.kept import End, Kept, Why
from echo_tasks.local.roster import Roster
from echo_tasks.settings import Settings, current

LOOK_S = 0.5
"""How often the crew looks how many are wanted."""


class Crew:
    """The members by their numbers, from 1."""

    def __init__(self, name: str, command: Sequence[str], settings: Settings) -> None:
        self._name = name
        self._command = command
        self._settings = settings
        self._roster = Roster(name, settings)
        self._members: dict[int, Kept] = {}
        self._is_ending = False
        self._exit_status = 0
        self._grows_from = -math.inf

    def run(self) -> int:
        """Keep the processes alive until there is a reason to end; the exit status. Blocks signals for good.

        Raises OSError for a folder that cannot be written.
        """
        waiting.block()
        with self._roster.manned() as is_ours:
            if not is_ours:
                print(f"crew: {self._name} has a crew already, in {self._settings.echo_var.resolve()}", flush=True)
                return EX_CONFIG
            self._begin()
            while True:
                now = time.monotonic()
                self._turn(now)
                if self._is_ending and not self._members:
                    return self._exit_status
                self._pass_on(waiting.signal_within(self._pause_s(now)))

    def _begin(self) -> None:
        try:
            self._roster.want(self._settings.min_instances)
        except OSError as error:  # a full disk is no reason to have no workers
            print(f"crew: {self._name} has as many as were wanted last: {error}", flush=True)

    def _turn(self, now: float) -> None:
        if not self._is_ending:
            self._grow(now)
        for number, member in list(self._members.items()):
            if end := member.turn(now):
                del self._members[number]
                self._see_to(member, end, now)

    def _grow(self, now: float) -> None:
        """Take on as many as are missing; none for a while after one was given up."""
        if now < self._grows_from:
            return
        while len(self._members) < self._wanted():
            number = next(number for number in range(1, len(self._members) + 2) if number not in self._members)
            self._members[number] = Kept(
                f"{self._name}.{number}",
                [*self._command, "-n", f"{self._name}{number}@%h"],
                self._settings,
                by="crew",
                prefix=f"[{number}] ".encode(),
                may_leave=True,
            )

    def _wanted(self) -> int:
        """How many there are to be, within the bounds; as many as there are where nobody can tell."""
        try:
            wanted = self._roster.wanted()
        except OSError:
            wanted = None
        if wanted is None:
            wanted = len(self._members)
        return min(max(wanted, self._settings.min_instances), self._settings.max_instances)

    def _see_to(self, member: Kept, end: End, now: float) -> None:
        """A member is no more."""
        if self._is_ending:
            self._exit_status = self._exit_status or end.exit_status
        elif end.why is Why.LEFT:
            member.say("was drained, and has left")
            self._strike_off(member)
        elif end.why is Why.HOPELESS and any(other.is_well for other in self._members.values()):
            member.say(f"is given up; none takes its place for {LONGEST_PAUSE_S:g} s")
            self._grows_from = now + LONGEST_PAUSE_S
            self._less()
        else:
            self._exit_status = end.exit_status
            self._pass_on(signal.SIGTERM)

    def _strike_off(self, member: Kept) -> None:
        self._less()
        try:
            restarts.forget(member.name, self._settings)
        except OSError as error:
            member.say(f"is still among the restarts: {error}")

    def _less(self) -> None:
        """One fewer is wanted, unless that is below the bound: then another one takes the place."""
        try:
            self._roster.change(-1, least=self._settings.min_instances)
        except OSError as error:
            print(
                f"crew: {self._name}: another one takes its place, since the file cannot be changed: {error}",
                flush=True,
            )

    def _pass_on(self, number: int) -> None:
        if not number:
            return
        self._is_ending = self._is_ending or number in waiting.STOPPING
        for member in self._members.values():
            member.tell(number)

    def _pause_s(self, now: float) -> float:
        """Until somebody is to be started, or the file read; for an end there is only the members' to wait for."""
        looks_s = math.inf if self._is_ending else LOOK_S
        return min([looks_s, *(member.pause_s(now) for member in self._members.values())])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m echo_tasks.local.crew NAME COMMAND…")
    try:
        raise SystemExit(Crew(sys.argv[1], sys.argv[2:], current()).run())
    except OSError as error:
        exit_misconfigured(SettingsError([f"ECHO_VAR={current().echo_var}: {error.strerror}"]))
