"""Starting, watching and stopping the Procfile's processes on this machine.

`python -m echo_tasks.local.control start|stop|restart|update|status|logs|scale` is what quick-start.sh calls.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from honcho.environ import parse_procfile

from echo_tasks.local import attach, begin, census, dotenv, logfile, readiness, restarts, scale, update, wire
from echo_tasks.settings import Settings, current

READY_TIMEOUT_S = 180
STOP_TIMEOUT_S = 35
LEFT_BEHIND_S = 10
_LOG_LINES_SHOWN = 200


def start(settings: Settings) -> int:
    """Start the farm in the background and wait until it is ready; the exit status."""
    running = census.processes(settings)
    if wire.ask(settings.echo_var, {"status": True}):
        print(f"The farm runs already ({len(running)} processes). Stop it with: ./quick-start.sh stop")
        return 0
    if running:
        print("An earlier farm was cut short.")
        stop(settings)
    if problem := readiness.port_problem(settings):
        print(problem)
        return 1
    try:
        begin.supervisor(settings.echo_var).close()
        wire.ask(settings.echo_var, {"start": _programs()})
        ready = _wait_until_ready(settings)
    except begin.NoSupervisor as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print()
        stop(settings)
        return 130
    if ready:
        readiness.print_access_points(settings)
        return 0
    print("The farm did not become ready. The end of its log:\n")
    logfile.show(logfile.path(settings), "", lines=30)
    for record in filter(lambda record: record.verdict, restarts.read(settings)):
        print(f"\n{record.verdict}")
    stop(settings)
    return 1


def stop(settings: Settings) -> int:
    """Stop every process of the farm: gracefully, and after STOP_TIMEOUT_S by force; the exit status."""
    running = census.processes(settings)
    if not running:
        print("The farm does not run.")
        return 0
    print(f"Stopping {len(running)} processes ", end="", flush=True)
    # By the supervisor, which ends all in order; then whatever one that was killed with its guard has left behind.
    if wire.ask(settings.echo_var, {"end": True}):
        census.wait(settings, STOP_TIMEOUT_S, _dot)
    left = census.end(settings, LEFT_BEHIND_S, _dot)
    print(f" stopped{f', {left} of them by force' if left else ''}.")
    return 0


def restart(settings: Settings) -> int:
    """Stop, then start."""
    stop(settings)
    return start(settings)


def status(settings: Settings) -> int:
    """Print what runs, what is ready, and what was restarted; 0 when all is ready."""
    running = census.processes(settings)
    ready, checks = readiness.readiness(settings)
    print(f"processes  {len(running) or 'none'} of the farm in {census.mark(settings)}")
    for name, detail in checks.items():
        print(f"{name:<10} {detail}")
    for heading, line in scale.in_words(settings):
        print(f"{heading:<10} {line}")
    pids = {process.pid for process in running}
    for record in restarts.read(settings):
        if record.keeper_pid in pids:
            print(f"{record.name:<10} {record}")
    if ready:
        readiness.print_access_points(settings)
    return 0 if ready else 1


def logs(settings: Settings, process: str = "") -> int:
    """Print the end of the log, of one process if named, and follow it on a terminal."""
    known = parse_procfile(Path("Procfile").read_text()).processes
    if process and process not in known:
        print(f"echo: no process {process}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    log = logfile.path(settings)
    if not log.exists():
        print(f"There is no log yet: {log}")
        return 1
    at = logfile.show(log, process, lines=_LOG_LINES_SHOWN)
    try:
        while sys.stdout.isatty():
            time.sleep(0.3)
            at = logfile.show(log, process, since=at)
    except KeyboardInterrupt:
        print()
    return 0


def _programs() -> dict[str, wire.Message]:
    """What the Procfile has this machine run."""
    lines = parse_procfile(Path("Procfile").read_text()).processes.values()
    asked = (attach.asked(shlex.split(line)[4:]) for line in lines)
    return {name: told | {"record": f"{name}.1"} for name, told in asked}


def _dot() -> None:
    print(".", end="", flush=True)


def _wait_until_ready(settings: Settings) -> bool:
    started = time.monotonic()
    shown = ""
    while (passed := time.monotonic() - started) < READY_TIMEOUT_S:
        ready, checks = readiness.readiness(settings)
        now = "  ".join(f"{name}: {detail}" for name, detail in checks.items())
        if now != shown:
            print(f"[{passed:5.1f} s] {now}", flush=True)
            shown = now
        if ready:
            return True
        if not (wire.ask(settings.echo_var, {"status": True}) or {}).get("programs"):
            return False
        time.sleep(0.3)
    return False


_VERBS: dict[str, Callable[..., int]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "update": update.run,
    "status": status,
    "logs": logs,
    "scale": scale.to,
}

_SHOWING = ("status", "logs")
"""Verbs that only print."""

_WORDS = {"logs": (1, 2), "scale": (2, 2)}
"""How many words the verbs take, themselves included, that take more than one."""


def main(arguments: list[str]) -> int:
    """Run one verb; the exit status."""
    least, most = _WORDS.get(arguments[0], (1, 1)) if arguments else (1, 1)
    if not arguments or arguments[0] not in _VERBS or not least <= len(arguments) <= most:
        print(f"usage: python -m echo_tasks.local.control {'|'.join(_VERBS)} [process | number]", file=sys.stderr)
        return 2
    if arguments[0] in _SHOWING:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    dotenv.read()
    return _VERBS[arguments[0]](current(), *arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
