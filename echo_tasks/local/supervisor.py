"""The supervisor of one machine's farm: starts its programs, starts them again when they die, and keeps their log.

`python -m echo_tasks.local.supervisor lock|guard FD`: with the descriptor of the lock that its starter has, or that of
a link to the guard which has kept what outlives a supervisor. There is one for each ECHO_VAR. What is to run it hears
over its socket (`wire.py`): from `attach`, which stands in for each program under honcho, and from quick-start.sh. Its
guard (`guard.py`) starts another supervisor when it is killed; that one takes over the programs as they run, and their
listening socket.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from echo_tasks.errors import EX_CONFIG, SettingsError
from echo_tasks.local import census, door, guard, logfile, wire
from echo_tasks.local.clients import Client, Clients
from echo_tasks.local.crew import Crew
from echo_tasks.local.guarded import Guarded
from echo_tasks.local.kept import STOPPING, End, Kept
from echo_tasks.local.launching import Launcher
from echo_tasks.settings import Settings, current

LOOK_S = 0.5
"""How often programs are looked at that another supervisor has started: their ends come as no signal."""

SERVERS = ("broker", "store")
"""What the other programs need until they have ended."""

LINGER_S = 3.5
"""How long servers that are to stop wait for the others: honcho kills after five seconds."""

KILL_S = 30.0
"""A program that was told to stop and has not ended by then is killed."""

PANIC_S = 10.0
"""When one that stands in for a program is killed, honcho stops all others: within this time that is not obeyed."""

ALONE_S = 10.0
"""A supervisor that nobody has told what to run for so long ends; one that has nothing left to run ends at once."""

LEFT_BEHIND_S = 10.0
"""What a supervisor and its guard that were killed together have left behind has so long to end."""


class Unit(Protocol):
    """A program, or a crew of them."""

    def turn(self, now: float) -> End | None:
        """Start and see to what is due; what became of it, once it is not tried again."""

    def tell(self, number: int) -> None:
        """Pass a signal on."""

    def replace(self, now: float) -> None:
        """Have another one in its place."""

    def pause_s(self, now: float) -> float:
        """Seconds until there is something to do; infinite while there is not."""


class Supervisor:
    """Runs in one thread, which waits for whatever happens first."""

    def __init__(self, settings: Settings, guarded: Guarded) -> None:
        """Listens from now on. Raises OSError."""
        self._settings = settings
        self._guarded = guarded
        self._launcher = Launcher(guarded, self._pass_on)
        self._log = logfile.Log(logfile.path(settings))
        self._units: dict[str, Unit] = {}
        self._stopping: dict[str, tuple[float, int]] = {}
        self._told: set[str] = set()
        self._is_ending = False
        self._panics_until = -math.inf
        self._began, self._has_begun = time.monotonic(), False
        self._watched: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._server = wire.listen(settings.echo_var)
        self._clients = Clients(self._server, self._selector, self._obey, self._lose)

    def run(self) -> None:
        """Supervise until all is over."""
        self._watch_guard()
        self._watch_signals()
        for name in self._programs():
            self._take_over(name)
        while self._turn():
            self._wait()
        self._selector.close()
        self._server.close()
        with suppress(FileNotFoundError):
            wire.place(self._settings.echo_var).unlink()
        self._guarded.end()

    def _turn(self) -> bool:
        """See to all programs; false once there is nothing left to do."""
        now = time.monotonic()
        if self._guarded.is_dead:
            self._revive_guard()
        self._stop_what_is_due(now)
        for name, unit in list(self._units.items()):
            if end := unit.turn(now):
                self._see_to(name, end)
        self._watch_outputs()
        if self._units:
            self._has_begun = True
            return True
        if self._has_begun:
            return bool(self._clients) and not self._is_ending
        return now - self._began < ALONE_S

    def _wait(self) -> None:
        now = time.monotonic()
        pauses = [unit.pause_s(now) for unit in self._units.values()]
        for key, _ in self._selector.select(max(0.0, min([LOOK_S, *pauses]))):
            key.data()

    def _see_to(self, name: str, end: End) -> None:
        """A program is no more. One that nobody has stopped, and for which nobody stands in, ends all others."""
        was_told = self._stopping.pop(name, None) is not None
        self._told.discard(name)
        del self._units[name]
        self._guarded.keep("farm", {"programs": {one: told for one, told in self._programs().items() if one != name}})
        stood_in = list(self._clients.of(name))
        for client in stood_in:
            self._clients.bid_farewell(client, {"ended": end.exit_status})
        if not was_told and not stood_in:
            self._end_all()

    def _stop_what_is_due(self, now: float) -> None:
        """Servers that were told to stop do so when all others have ended, or have had the time to."""
        for name, (since, number) in self._stopping.items():
            is_needed = name in SERVERS and any(other not in SERVERS for other in self._units)
            if name not in self._told and (not is_needed or now - since >= LINGER_S):
                self._told.add(name)
                self._units[name].tell(number)
            if now - since >= KILL_S:
                self._units[name].tell(signal.SIGKILL)

    # What clients ask for

    def _obey(self, client: Client, message: wire.Message) -> None:
        match message:
            case {"run": str(name), "command": list(command), **flags}:
                client.unit = name
                self._run(name, {"command": command, **flags})
            case {"signal": int(number), "to": str(name)}:
                self._pass_signal(client, name, number)
            case {"start": dict(programs)}:
                for name, told in programs.items():
                    self._run(name, told)
                self._clients.tell(client, {"ok": True})
            case {"replace": str(name)} if name in self._units:
                self._units[name].replace(time.monotonic())
                self._clients.tell(client, {"ok": True})
            case {"status": _}:
                programs = {name: running.pid for name, running in self._launcher.running().items()}
                self._clients.tell(client, {"pid": os.getpid(), "units": [*self._units], "programs": programs})
            case {"end": _}:
                self._end_all()
                self._clients.tell(client, {"ok": True})
            case _:
                self._clients.tell(client, {"error": "not understood"})

    def _pass_signal(self, client: Client, name: str, number: int) -> None:
        if number not in STOPPING:
            if name in self._units:
                self._units[name].tell(number)
            return
        client.has_told_to_stop = True
        if time.monotonic() < self._panics_until or name not in self._units:
            self._clients.bid_farewell(client, {"ended": 0})
        else:
            self._stop(name, number)

    def _lose(self, client: Client) -> None:
        """A client is gone. One that stood in for a program that it did not stop was killed, or nobody reads it."""
        if client.unit in self._units and not client.has_told_to_stop:
            self._panics_until = time.monotonic() + PANIC_S
            self._launcher.say(client.unit, f"{client.unit} runs on; ./quick-start.sh stop ends the farm")

    # Programs

    def _programs(self) -> dict[str, Any]:
        """What runs, as it was asked for."""
        return dict(self._guarded.word("farm").get("programs", {}))

    def _run(self, name: str, told: dict[str, Any]) -> None:
        if name not in self._units and not self._is_ending:
            self._guarded.keep("farm", {"programs": self._programs() | {name: told}})
            self._take_over(name)

    def _take_over(self, name: str) -> None:
        """Have a program run that is known, or runs already."""
        told, now = self._programs()[name], time.monotonic()
        command, number = list(told["command"]), None
        if told.get("crew"):
            self._units[name] = Crew(name, command, self._settings, self._launcher, now)
            return
        if told.get("door"):
            try:
                number = door.of(self._settings, self._guarded)
            except SettingsError as error:
                command = [sys.executable, "-c", f"raise SystemExit(print('echo: ' + {str(error)!r}) or {EX_CONFIG})"]
            command = [word.replace("{door}", str(number)) for word in command]
        record = told.get("record", name)
        self._units[name] = Kept(name, command, self._settings, self._launcher, now, record=record, door=number)

    def _stop(self, name: str, number: int = signal.SIGTERM) -> None:
        if name in self._units and name not in self._stopping:
            self._stopping[name] = time.monotonic(), number

    def _end_all(self) -> None:
        self._is_ending = True
        for name in list(self._units):
            self._stop(name)

    # What is watched

    def _watch_outputs(self) -> None:
        """Watch the outputs that there are now."""
        there = {output.descriptor: name for name, output in self._launcher.outputs.items()}
        for descriptor, name in self._watched.items():
            if there.get(descriptor) != name:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(descriptor)
        for descriptor, name in there.items():
            if self._watched.get(descriptor) != name:
                self._selector.register(descriptor, selectors.EVENT_READ, partial(self._launcher.pass_on, name))
        self._watched = there

    def _pass_on(self, name: str, line: bytes) -> None:
        """A line of a program: to the log, and to whoever stands in for it. A member's has its number before it."""
        unit, _, number = name.partition(".")
        told = f"[{number}] ".encode() + line if number.isdecimal() else line
        self._log.write(unit, told)
        for client in self._clients.of(unit):
            self._clients.tell(client, {"line": told.decode(errors="replace")})

    def _watch_guard(self) -> None:
        self._link = self._guarded.fileno()
        self._selector.register(self._link, selectors.EVENT_READ, self._revive_guard)

    def _revive_guard(self) -> None:
        """Have another guard; one that is killed before it knows all is followed in the next turn."""
        with suppress(KeyError):
            self._selector.unregister(self._link)
        self._guarded.revive()
        if not self._guarded.is_dead:
            self._watch_guard()

    def _watch_signals(self) -> None:
        waker, wakes = os.pipe()
        for descriptor in (waker, wakes):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakes)
        self._selector.register(waker, selectors.EVENT_READ, lambda: os.read(waker, 4096))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end_all())


def main(arguments: Sequence[str]) -> None:
    """Begin a farm, or go on with that of a supervisor that was killed."""
    settings = current()
    os.environ["PYTHONUNBUFFERED"] = "1"
    whence, descriptor = arguments
    if whence == "guard":
        link = socket.socket(fileno=int(descriptor))
        guarded = Guarded(link, guard.receive(link))
    else:
        census.end(settings, LEFT_BEHIND_S)
        guarded = Guarded()
        guarded.keep("lock", {}, [int(descriptor)])  # as long as one of the two lives
    supervisor = Supervisor(settings, guarded)
    log = logfile.path(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:  # whoever has started this one reads no more
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
