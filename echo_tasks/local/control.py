"""Starting, watching and stopping the Procfile's processes on this machine.

`python -m echo_tasks.local.control start|stop|restart|status|logs` is what quick-start.sh calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from honcho import environ

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.local.servers import port_is_free
from echo_tasks.settings import Settings, current

MARK = "ECHO_FARM"
"""Environment variable that every process of a farm carries; its value is the farm's folder."""

READY_TIMEOUT_S = 180
STOP_TIMEOUT_S = 30
_LOG_LINES_SHOWN = 200
_LOG_BYTES_SHOWN = 1_000_000
_LOG_BYTES_KEPT = 64_000_000


def ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """The ports that the farm binds on this machine, by the settings that name them: host and port."""
    bound = {
        "API_PORT": (settings.api_host, settings.api_port),
        "FLOWER_PORT": (settings.flower_address, settings.flower_port),
    }
    if settings.broker_url is None:
        bound["BROKER_PORT"] = ("127.0.0.1", settings.broker_port)
    if settings.cache_url is None:
        bound["STORE_PORT"] = ("127.0.0.1", settings.store_port)
    return bound


def processes(settings: Settings) -> list[psutil.Process]:
    """Every live process of this folder's farm, whoever its parent is by now."""
    mark = _mark(settings)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return [process for process in found if process.pid != os.getpid()]


def start(settings: Settings) -> int:
    """Start the farm in the background and wait until it is ready; the exit status."""
    running = processes(settings)
    if any(_is_honcho(process) for process in running):
        print(f"The farm runs already ({len(running)} processes). Stop it with: ./quick-start.sh stop")
        return 0
    if running:
        print("An earlier farm was cut short.")
        stop(settings)
    if problem := _port_problem(settings):
        print(problem)
        return 1
    log = _log(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "start"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {MARK: _mark(settings), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        ready = _wait_until_ready(settings, honcho)
    except KeyboardInterrupt:
        print()
        stop(settings)
        return 130
    if ready:
        _print_access_points(settings)
        return 0
    print("The farm did not become ready. The end of its log:\n")
    _print_log(log, "", lines=30)
    stop(settings)
    return 1


def stop(settings: Settings) -> int:
    """Stop every process of the farm: gracefully, and after STOP_TIMEOUT_S by force; the exit status."""
    running = processes(settings)
    if not running:
        print("The farm does not run.")
        return 0
    print(f"Stopping {len(running)} processes ", end="", flush=True)
    # The workers first, while the broker lives, so that they finish what they hold; then honcho, which ends
    # the rest; then whatever a honcho that was killed has left behind.
    for stage in (_is_worker, _is_honcho, lambda _: True):
        for process in filter(stage, processes(settings)):
            _signal(process.terminate)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(stage(process) for process in processes(settings)) and time.monotonic() < deadline:
            print(".", end="", flush=True)
            time.sleep(0.5)
    left = processes(settings)
    for process in left:
        _signal(process.kill)
    print(f" stopped{f', {len(left)} of them by force' if left else ''}.")
    return 0


def restart(settings: Settings) -> int:
    """Stop, then start."""
    stop(settings)
    return start(settings)


def status(settings: Settings) -> int:
    """Print what runs and what is ready; 0 when all is."""
    running = processes(settings)
    ready, checks = _readiness(settings)
    print(f"processes  {len(running)} of the farm in {_mark(settings)}")
    for name, detail in checks.items():
        print(f"{name:<10} {detail}")
    if ready:
        _print_access_points(settings)
    return 0 if ready else 1


def logs(settings: Settings, process: str = "") -> int:
    """Print the end of the log, of one process if named, and follow it on a terminal."""
    log = _log(settings)
    if not log.exists():
        print(f"There is no log yet: {log}")
        return 1
    at = _print_log(log, process, lines=_LOG_LINES_SHOWN)
    try:
        while sys.stdout.isatty():
            time.sleep(0.3)
            at = _print_log(log, process, since=at)
    except KeyboardInterrupt:
        print()
    return 0


def _port_problem(settings: Settings) -> str:
    """Why the farm could not bind its ports, in a line; empty when it could."""
    for variable, (host, port) in ports(settings).items():
        try:
            if not port_is_free(port, host):
                return f"Port {port} ({variable}) is taken by another program. Free it, or set {variable} to another."
        except OSError as error:
            return f"Nothing can be bound at {host} port {port} ({variable}): {error.strerror}."
    return ""


def _mark(settings: Settings) -> str:
    return str(settings.echo_var.resolve())


def _log(settings: Settings) -> Path:
    return settings.echo_var / "log" / "farm.log"


def _is_worker(process: psutil.Process) -> bool:
    return _runs(process, "celery", "worker")


def _is_honcho(process: psutil.Process) -> bool:
    return _runs(process, "honcho", "start")


def _runs(process: psutil.Process, program: str, verb: str) -> bool:
    """Whether the process is that program itself, not the shell that started it."""
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return verb in words and any(Path(word).name == program for word in words[:3])


def _signal(send: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send()


def _wait_until_ready(settings: Settings, honcho: subprocess.Popen[bytes]) -> bool:
    started = time.monotonic()
    shown = ""
    while (passed := time.monotonic() - started) < READY_TIMEOUT_S:
        ready, checks = _readiness(settings)
        now = "  ".join(f"{name}: {detail}" for name, detail in checks.items())
        if now != shown:
            print(f"[{passed:5.1f} s] {now}", flush=True)
            shown = now
        if ready:
            return True
        if honcho.poll() is not None:
            return False
        time.sleep(0.3)
    return False


def _readiness(settings: Settings) -> tuple[bool, dict[str, str]]:
    """Whether the farm is ready by the API's own word and Flower's, and each check in a word."""
    checks = {"api": "not up"}
    status, body = _get(f"http://{_reachable(settings.api_host)}:{settings.api_port}/readyz")
    if status in {200, 503}:
        found = json.loads(body)["checks"]
        checks = {"api": "ok"} | {name: "ok" if check["ok"] else "waiting" for name, check in found.items()}
    flower, _ = _get(f"http://{_reachable(settings.flower_address)}:{settings.flower_port}/healthcheck")
    checks["flower"] = "ok" if flower == 200 else "not up"
    return set(checks.values()) == {"ok"}, checks


def _get(url: str) -> tuple[int, bytes]:
    """Status and body of one of our own servers; status 0 when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own servers
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def _print_access_points(settings: Settings) -> None:
    api = f"http://{_reachable(settings.api_host)}:{settings.api_port}"
    print(f"""
The farm is ready.
  API       {api}/api/jobs
  OpenAPI   {api}/openapi/swagger
  Health    {api}/health
  Metrics   {api}/metrics
  Flower    http://{_reachable(settings.flower_address)}:{settings.flower_port}
  Log       {_log(settings)}

Try:
  curl -s {api}/api/cognitive/process -H 'Content-Type: application/json' \\
       -d '{{"input_text":"What is two plus three?"}}'
""")


def _reachable(host: str) -> str:
    """The address under which a client on this machine finds what is bound to `host`."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


def _print_log(log: Path, process: str, *, lines: int | None = None, since: int | None = None) -> int:
    """Print the log from the byte `since`, or the last `lines` of its end; returns where it ended."""
    if since is None:
        since = max(0, log.stat().st_size - _LOG_BYTES_SHOWN)
    with log.open("rb") as file:
        file.seek(since)
        text = file.read()
    chosen = list(_of_process(text.decode(errors="replace").splitlines(), process))
    for line in chosen if lines is None else chosen[-lines:]:
        print(line)
    return since + len(text)


def _of_process(lines: list[str], process: str) -> Iterator[str]:
    """honcho writes `HH:MM:SS name.1   | line`."""
    for line in lines:
        name = line.split("|", 1)[0].split()
        if not process or (len(name) > 1 and name[1].split(".")[0] == process):
            yield line


_VERBS: dict[str, Callable[..., int]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "status": status,
    "logs": logs,
}


def main(arguments: list[str]) -> int:
    """Run one verb; the exit status."""
    if not arguments or arguments[0] not in _VERBS or len(arguments) > (2 if arguments[0] == "logs" else 1):
        print(f"usage: python -m echo_tasks.local.control {'|'.join(_VERBS)} [process]", file=sys.stderr)
        return 2
    if (dotenv := Path(".env")).is_file():
        try:
            os.environ.update(environ.parse(dotenv.read_text()))  # as honcho itself will read it
        except ValueError as error:
            exit_misconfigured(SettingsError([f"{dotenv.resolve()} is not lines of NAME=value: {error}"]))
    return _VERBS[arguments[0]](current(), *arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
