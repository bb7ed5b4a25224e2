"""Keeps as many like processes alive as are wanted: `python -m echo_tasks.local.crew NAME COMMAND…`.

Each is kept as a keeper keeps its one (`keep.py`), and gets a node's name of its own, `-n NAME1@%h`. How many are
wanted is read from a file (`roster.py`): MIN_INSTANCES at first, and within the bounds always. A process that ends with
status 0 has been drained: it is not started again, and one fewer is wanted, unless that was said when it was told to
drain. Of one that memory did not suffice for, no other takes the place as long as this crew lives, unless it was the
last. The crew ends none for want of work.
"""

from __future__ import annotations

import itertools
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from echo_tasks.errors import EX_CONFIG, SettingsError, exit_misconfigured
from echo_tasks.local import restarts, waiting
from echo_tasks.local.backoff import Backoff
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
        self._rest_s = Backoff(settings.restart_pause_s).longest_pause_s

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
        with self._despite_faults("it begins with as many as were wanted last"):
            least, fit = self._settings.min_instances, self._roster.begin()
            if fit < least:
                print(f"crew: {self._name}: MIN_INSTANCES={least}: this machine's cores carry {fit}", flush=True)

    def _turn(self, now: float) -> None:
        if not self._is_ending:
            self._grow(now)
        for number, member in list(self._members.items()):
            if end := member.turn(now):
                del self._members[number]
                self._see_to(number, member, end, now)

    def _grow(self, now: float) -> None:
        """Take on as many as are missing, besides those that are leaving; none for a while after one was given up."""
        if now < self._grows_from:
            return
        missing = self._missing()
        free = (number for number in itertools.count(1) if number not in self._members)
        for number in list(itertools.islice(free, missing)):
            self._members[number] = Kept(
                f"{self._name}.{number}",
                [*self._command, "-n", f"{self._name}{number}@%h"],
                self._settings,
                by="crew",
                prefix=f"[{number}] ".encode(),
                is_one_of_many=True,
            )

    def _missing(self) -> int:
        """How many there are to be more; none where nobody can tell, but for the least."""
        try:
            wanted = self._roster.wanted()
        except OSError:
            wanted = None
        leaving = wanted.leaving if wanted else ()
        stay = sum(self._roster.node(number) not in leaving for number in self._members)
        return max(0, (wanted.count if wanted else self._roster.least) - stay)

    def _see_to(self, number: int, member: Kept, end: End, now: float) -> None:
        """A member is no more."""
        if self._is_ending:
            self._exit_status = self._exit_status or end.exit_status
        elif end.why is Why.LEFT:
            member.say("was drained, and has left")
            with self._despite_faults("another one takes its place"):
                self._roster.strike_off(self._roster.node(number))
            with self._despite_faults("it is still among the restarts"):
                restarts.forget(member.name, self._settings)
        elif end.why is Why.NO_ROOM:
            self._rest(member, now)
            with self._despite_faults("as many as before are wanted"):
                self._roster.fill(len(self._members))
        elif end.why is Why.HOPELESS and any(other.is_well for other in self._members.values()):
            self._rest(member, now)
            with self._despite_faults("another one takes its place then"):
                self._roster.change(-1)
        else:
            self._exit_status = end.exit_status
            self._pass_on(signal.SIGTERM)

    def _rest(self, member: Kept, now: float) -> None:
        member.say(f"is given up; none takes its place for {self._rest_s:g} s")
        self._grows_from = now + self._rest_s

    @contextmanager
    def _despite_faults(self, consequence: str) -> Iterator[None]:
        """Go on when a file cannot be changed: a full disk is no reason to have no workers."""
        try:
            yield
        except OSError as error:
            print(f"crew: {self._name}: {error}: {consequence}", flush=True)

    def _pass_on(self, number: int) -> None:
        if not number or number == waiting.REPLACE:  # members are replaced by draining them, one by one
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
