"""The supervisor of one machine's farm: starts its programs, starts them again when they die, and keeps their log.

`python -m echo_tasks.local.supervisor`. One for each ECHO_VAR. What is to run it hears over its socket (`wire.py`):
from `attach`, which stands in for each program under honcho, and from quick-start.sh. Its guard (`guard.py`) starts
another supervisor when it is killed; that one takes over the programs as they run, and their listening socket.
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
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from echo_tasks.errors import SettingsError
from echo_tasks.local import door, guard, logfile, wire
from echo_tasks.local.begin import MARK
from echo_tasks.local.crew import Crew
from echo_tasks.local.kept import End, Kept
from echo_tasks.local.launching import Guarded, Launcher
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
"""A supervisor that has nothing to do for so long ends."""


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


@dataclass(slots=True, eq=False)
class Client:
    """Somebody who is connected; `unit` is the program that it stands in for."""

    connection: socket.socket
    lines: wire.Lines = field(default_factory=wire.Lines)
    unit: str = ""
    has_asked_to_stop: bool = False


class Supervisor:
    """Runs in one thread, which waits for whatever happens first."""

    def __init__(self, settings: Settings, guarded: Guarded) -> None:
        self._settings = settings
        self._guarded = guarded
        self._launcher = Launcher(guarded, self._pass_on)
        self._log = logfile.Log(logfile.path(settings))
        self._units: dict[str, Unit] = {}
        self._stopping: dict[str, float] = {}
        self._told: set[str] = set()
        self._clients: set[Client] = set()
        self._is_ending = False
        self._panics_until = -math.inf
        self._idle_since = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._server = wire.listen(settings.echo_var)
        self._server.setblocking(False)
        self._watched: dict[int, str] = {}

    def run(self) -> None:
        """Supervise until all is over."""
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._watch_guard()
        self._watch_signals()
        for name in self._guarded.word("farm").get("programs", {}):
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
        self._stop_servers_last(now)
        for name, unit in list(self._units.items()):
            if end := unit.turn(now):
                self._see_to(name, end)
        self._watch_outputs()
        if self._units or self._clients:
            self._idle_since = now
        return not (self._is_ending and not self._units) and now - self._idle_since < ALONE_S

    def _see_to(self, name: str, end: End) -> None:
        """A program is no more. One that nobody has stopped, and that cannot be started, ends all others."""
        was_told = self._stopping.pop(name, None) is not None
        self._told.discard(name)
        del self._units[name]
        self._remember()
        stood_in = [client for client in self._clients if client.unit == name]
        for client in stood_in:
            self._tell(client, {"ended": end.exit_status})
            self._drop(client)
        if not was_told and not stood_in:
            self._end_all()

    def _stop_servers_last(self, now: float) -> None:
        """Servers that were told to stop do when all others have ended, or have had the time to."""
        for name, since in list(self._stopping.items()):
            others = [other for other in self._units if other not in SERVERS]
            is_due = name in SERVERS and (not others or now - since >= LINGER_S)
            if is_due and name not in self._told:
                self._told.add(name)
                self._units[name].tell(signal.SIGTERM)
            if now - since >= KILL_S:
                self._units[name].tell(signal.SIGKILL)

    def _wait(self) -> None:
        now = time.monotonic()
        pauses = [unit.pause_s(now) for unit in self._units.values()]
        for key, _ in self._selector.select(max(0.0, min([LOOK_S, *pauses]))):
            key.data()

    # --- what clients ask for

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._server.accept()
            connection.setblocking(False)
            client = Client(connection)
            self._clients.add(client)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._hear, client))

    def _hear(self, client: Client) -> None:
        try:
            data = client.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._lose(client)
        for message in client.lines.fed(data):
            self._obey(client, message)

    def _obey(self, client: Client, message: wire.Message) -> None:
        match message:
            case {"run": str(name), "command": list(command), **rest}:
                client.unit = name
                self._run(name, {"command": command, **rest})
            case {"stop": str(name)}:
                client.has_asked_to_stop = True
                if time.monotonic() < self._panics_until:
                    self._tell(client, {"ended": 0})
                    return self._drop(client)
                self._stop(name)
            case {"start": dict(programs)}:
                for name, told in programs.items():
                    self._run(name, told)
                self._tell(client, {"ok": True})
            case {"replace": str(name)} if name in self._units:
                self._units[name].replace(time.monotonic())
                self._tell(client, {"ok": True})
            case {"status": _}:
                self._tell(client, {"pid": os.getpid(), "programs": list(self._units)})
            case {"end": _}:
                self._end_all()
                self._tell(client, {"ok": True})
            case _:
                self._tell(client, {"error": "not understood"})

    def _lose(self, client: Client) -> None:
        """A client is gone. One that stood in for a program and did not ask to stop it was killed."""
        self._drop(client)
        if client.unit in self._units and not client.has_asked_to_stop:
            self._panics_until = time.monotonic() + PANIC_S
            self._launcher.say(client.unit, f"{client.unit} runs on; `./quick-start.sh stop` ends the farm")

    def _drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._selector.unregister(client.connection)
            client.connection.close()

    def _tell(self, client: Client, message: wire.Message) -> None:
        try:
            wire.send(client.connection, message)
        except OSError:  # who does not read what it is told is as good as gone
            client.has_asked_to_stop = True
            self._drop(client)

    # --- programs

    def _run(self, name: str, told: dict[str, Any]) -> None:
        if name in self._units or self._is_ending:
            return
        known = self._guarded.word("farm").get("programs", {})
        self._guarded.keep("farm", {"programs": known | {name: told}})
        self._take_over(name)

    def _take_over(self, name: str) -> None:
        """Have a program run that is known, or runs already."""
        told = self._guarded.word("farm")["programs"][name]
        now = time.monotonic()
        if told.get("crew"):
            self._units[name] = Crew(name, told["command"], self._settings, self._launcher, now)
            return
        command, number = list(told["command"]), None
        if told.get("door"):
            try:
                number = door.of(self._settings, self._guarded)
            except SettingsError as error:
                self._launcher.say(name, f"echo: {error}")
                command = ["sh", "-c", "exit 78"]
            command = [word.replace("{door}", str(number)) for word in command]
        record = told.get("record", name)
        self._units[name] = Kept(name, command, self._settings, self._launcher, now, record=record, door=number)

    def _stop(self, name: str) -> None:
        if name not in self._units or name in self._stopping:
            return
        self._stopping[name] = time.monotonic()
        if name not in SERVERS:
            self._told.add(name)
            self._units[name].tell(signal.SIGTERM)

    def _end_all(self) -> None:
        """The workers and who would miss them first: they hand back what they hold, while the broker is there."""
        self._is_ending = True
        for name in list(self._units):
            self._stop(name)

    def _remember(self) -> None:
        known = self._guarded.word("farm").get("programs", {})
        self._guarded.keep("farm", {"programs": {name: told for name, told in known.items() if name in self._units}})

    # --- what is watched

    def _watch_outputs(self) -> None:
        """Watch the outputs that there are now."""
        there = {output.descriptor: name for name, output in self._launcher.outputs.items()}
        for descriptor in self._watched.keys() - there.keys():
            with suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
        for descriptor, name in there.items():
            if self._watched.get(descriptor) != name:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(descriptor)
                self._selector.register(descriptor, selectors.EVENT_READ, partial(self._launcher.pass_on, name))
        self._watched = there

    def _pass_on(self, name: str, line: bytes) -> None:
        """A line of a program: to the log, and to whoever stands in for it. A member's has its number before it."""
        unit, _, number = name.partition(".")
        told = f"[{number}] ".encode() + line if number and number.isdecimal() else line
        self._log.write(unit, told)
        for client in [client for client in self._clients if client.unit == unit]:
            self._tell(client, {"line": told.decode(errors="replace")})

    def _watch_guard(self) -> None:
        self._selector.register(self._guarded.fileno(), selectors.EVENT_READ, self._revive_guard)

    def _revive_guard(self) -> None:
        self._selector.unregister(self._guarded.fileno())
        self._guarded.revive()
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
    os.environ[MARK] = str(settings.echo_var.resolve())
    os.environ["PYTHONUNBUFFERED"] = "1"
    if arguments:
        link = socket.socket(fileno=int(arguments[0]))
        guarded = Guarded(link, guard.receive(link))
    else:
        guarded = Guarded()
    supervisor = Supervisor(settings, guarded)
    log = logfile.path(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:  # whoever has started this one reads no more
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
