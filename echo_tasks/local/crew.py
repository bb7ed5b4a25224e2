"""As many like processes as are wanted, each kept as any other process of the farm.

Each gets a node's name of its own, `-n NAME1@%h`. How many are wanted is read from a file (`roster.py`): MIN_INSTANCES
at first, and within the bounds always. A process that ends with status 0 has been drained: it is not started again, and
one fewer is wanted, unless that was said when it was told to drain. Of one that memory did not suffice for, no other
takes the place as long as this farm runs, unless it was the last. A crew ends none for want of work.
"""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from echo_tasks.errors import EX_CONFIG
from echo_tasks.local import restarts
from echo_tasks.local.backoff import Backoff
from echo_tasks.local.kept import STOPPING, End, Kept, Why
from echo_tasks.local.launching import Launcher
from echo_tasks.local.roster import Roster
from echo_tasks.settings import Settings

LOOK_S = 0.5
"""How often the crew looks how many are wanted."""


class Crew:
    """The members by their numbers, from 1."""

    def __init__(self, name: str, command: Sequence[str], settings: Settings, launcher: Launcher, now: float) -> None:
        self.name = name
        self._command = command
        self._settings = settings
        self._launcher = launcher
        self._roster = Roster(name, settings)
        self._members: dict[int, Kept] = {}
        self._manned = ExitStack()
        self._end: End | None = None
        self._is_ending = False
        self._exit_status = 0
        self._grows_from = -math.inf
        self._rest_s = Backoff(settings.restart_pause_s).longest_pause_s
        self._begin(now)

    def turn(self, now: float) -> End | None:
        """See to the members, and have as many as are wanted; what became of all, once none is tried again."""
        if not self._is_ending:
            self._grow(now)
        for number, member in list(self._members.items()):
            if end := member.turn(now):
                del self._members[number]
                self._see_to(number, member, end, now)
        if self._is_ending and not self._members and self._end is None:
            self._manned.close()
            self._end = End(Why.TOLD, self._exit_status)
        return self._end

    def tell(self, number: int) -> None:
        """Pass a signal on to all members."""
        self._is_ending = self._is_ending or number in STOPPING
        for member in self._members.values():
            member.tell(number)

    def replace(self, now: float) -> None:
        """Nothing: members are replaced by draining them, one by one."""

    def pause_s(self, now: float) -> float:
        """Until somebody is to be started, or the file read; for an end there is only the members' to wait for."""
        looks_s = math.inf if self._is_ending else LOOK_S
        return min([looks_s, *(member.pause_s(now) for member in self._members.values())])

    def _begin(self, now: float) -> None:
        """Be the roster's crew, with the members that a supervisor before this one has left."""
        try:
            is_ours = self._manned.enter_context(self._roster.manned())
        except OSError as error:
            self._say(f"ECHO_VAR={self._settings.echo_var}: {error.strerror}")
            is_ours = False
        if not is_ours:
            self._say(f"there is another one in {self._settings.echo_var.resolve()}")
            self._end = End(Why.MISCONFIGURED, EX_CONFIG)
            return
        for number in self._left_behind():
            self._take_on(number, now)
        if not self._members:
            with self._despite_faults("it begins with as many as were wanted last"):
                least, fit = self._settings.min_instances, self._roster.begin()
                if fit < least:
                    self._say(f"MIN_INSTANCES={least}: this machine's cores carry {fit}")

    def _left_behind(self) -> Sequence[int]:
        """The numbers of members that run already."""
        most = self._settings.max_instances + 1
        return [number for number in range(1, most + 1) if self._launcher.has(self._member(number))]

    def _member(self, number: int) -> str:
        return f"{self.name}.{number}"

    def _grow(self, now: float) -> None:
        """Take on as many as are missing, besides those that are leaving; none for a while after one was given up."""
        if now < self._grows_from:
            return
        missing = self._missing()
        free = (number for number in itertools.count(1) if number not in self._members)
        for number in list(itertools.islice(free, missing)):
            self._take_on(number, now)

    def _take_on(self, number: int, now: float) -> None:
        command = [*self._command, "-n", f"{self.name}{number}@%h"]
        self._members[number] = Kept(
            self._member(number),
            command,
            self._settings,
            self._launcher,
            now,
            is_one_of_many=True,
            is_drained=lambda: self._is_leaving(number),
        )

    def _is_leaving(self, number: int) -> bool:
        """Whether a member was told to drain."""
        with self._despite_faults("it counts as one that died"):
            wanted = self._roster.wanted()
            return wanted is not None and self._roster.node(number) in wanted.leaving
        return False

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
            self.tell(signal.SIGTERM)

    def _rest(self, member: Kept, now: float) -> None:
        member.say(f"is given up; none takes its place for {self._rest_s:g} s")
        self._grows_from = now + self._rest_s

    @contextmanager
    def _despite_faults(self, consequence: str) -> Iterator[None]:
        """Go on when a file cannot be changed: a full disk is no reason to have no workers."""
        try:
            yield
        except OSError as error:
            self._say(f"{error}: {consequence}")

    def _say(self, what: str) -> None:
        self._launcher.say(self.name, f"crew of {self.name}: {what}")
