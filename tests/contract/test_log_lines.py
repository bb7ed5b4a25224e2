"""Log lines: one event each, with what is known of where it belongs, and without passwords and texts."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

PASSWORD = "hunter2"  # noqa: S105 - nobody's


def lines(program: str, *command: str, **env: str) -> list[str]:
    """What a Python of its own leaves on stderr after `logs.configure()`."""
    begin = "from echo_tasks import logs\nimport logging, sys, threading, warnings\nlogs.configure()\n"
    done = subprocess.run(
        command or [sys.executable, "-c", begin + program],
        cwd=ROOT,
        env=os.environ | {"LOG_FORMAT": "json"} | env,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    return done.stderr.split("\n")[:-1]


def events(program: str, **env: str) -> list[dict[str, Any]]:
    """The same, read as JSON, line by line."""
    return [json.loads(line) for line in lines(program, **env)]


def test_every_loggers_event_is_one_line() -> None:
    """Ours and others', with several lines in them, and whatever characters."""
    program = (
        "logs.get('ours').info('said', what='one\\ntwo \\u2028 é', number=1)\n"
        "logging.getLogger('theirs').warning('one\\n%s', 'two')\n"
    )
    ours, theirs = events(program)
    assert (ours["event"], ours["what"], ours["number"]) == ("said", "one\ntwo \u2028 é", 1)
    assert (ours["logger"], ours["level"]) == ("ours", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("one\ntwo", "theirs", "warning")
    assert ours["timestamp"] <= theirs["timestamp"]


@pytest.mark.parametrize(
    "program",
    [
        "try: 1 / 0\nexcept Exception: logs.get('x').exception('it failed')",
        "try: 1 / 0\nexcept Exception: logging.getLogger('x').exception('it failed')",
        "1 / 0",
        "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
    ],
)
def test_an_exception_is_one_event(program: str) -> None:
    """Caught or not, in any thread: its traceback is a field."""
    (event,) = events(program)
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("ZeroDivisionError: division by zero")
    assert event["level"] in {"error", "critical"}


def test_a_warning_is_one_event() -> None:
    """Python's own way of telling of it has two lines."""
    (event,) = events("warnings.warn('old', DeprecationWarning)", PYTHONWARNINGS="always")
    assert "DeprecationWarning: old" in event["event"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_passwords_of_urls_are_hidden(form: str) -> None:
    """In fields, messages, arguments, objects and tracebacks, in either form."""
    url = f"redis://:{PASSWORD}@host:6379/0"
    program = (
        f"logs.get('x').info('connects to {url}', url='{url}', deep={{'urls': ['{url}']}})\n"
        f"logging.getLogger('x').error('lost %s', '{url}')\n"
        f"raise ConnectionError('{url} is away')"
    )
    text = "\n".join(lines(program, LOG_FORMAT=form))
    assert PASSWORD not in text
    assert text.count("redis://***@host:6379/0") >= 5


def test_what_has_no_password_is_left_alone() -> None:
    """A URL and a node's name on one line are two things."""
    (event,) = events("logs.get('x').info('up', url='redis://host/0', worker='worker1@host')")
    assert (event["url"], event["worker"]) == ("redis://host/0", "worker1@host")


def test_celerys_words_about_a_task_name_its_job_and_step() -> None:
    """They come from threads that know neither: the message's id does."""
    job_id = "0123456789abcdef" * 2
    extra = {"data": {"id": f"{job_id}.memory", "name": "echo.memory", "args": "('x',)"}}
    (known,) = events(f"logging.getLogger('celery.app.trace').info('Task done', extra={extra!r})")
    assert (known["job_id"], known["step"]) == (job_id, "memory")
    (unknown,) = events("logging.getLogger('celery').info('Task', extra={'data': {'id': 'another'}})")
    assert "job_id" not in unknown


def test_events_carry_what_the_process_says_of_itself() -> None:
    """Such as a worker its node: whatever is added, once."""
    program = "for _ in range(2): logs.add_fields(who)\nlogs.get('x').info('up'); logging.getLogger('y').info('up')"
    assert [event["worker"] for event in events(f"who = lambda: {{'worker': 'w@h'}}\n{program}")] == ["w@h"] * 2


def test_what_a_signals_handler_says_is_an_event() -> None:
    """It takes no lock of the log's, which the interrupted thread may hold."""
    program = "with logging.root.handlers[0].lock:\n  logs.say('worker: Warm shutdown', sys.stdout)"
    (event,) = events(program)
    assert (event["event"], event["level"]) == ("worker: Warm shutdown", "info")


def test_texts_are_let_in_by_the_setting_alone() -> None:
    """LOG_TEXT is off unless it is said otherwise."""
    program = "logs.get('x').info('answered', **logs.texts(prompt='secret'))"
    assert "secret" not in lines(program)[0]
    assert events(program, LOG_TEXT="true")[0]["prompt"] == "secret"


def test_what_does_not_validate_is_not_repeated() -> None:
    """A job that another version wrote ends up in a log as an error, without its text."""
    program = (
        "from echo_tasks.messages import JobSpec, JobResult\n"
        "for kind in (JobSpec, JobResult):\n"
        '  try: kind.model_validate_json(\'{"input_text": "secret", "response_text": ["secret"]}\')\n'
        "  except ValueError: logs.get('x').exception('unreadable')\n"
    )
    found = lines(program)
    assert len(found) == 2
    assert "secret" not in "".join(found)


def test_gunicorns_master_logs_as_the_farm_does(tmp_path: Path) -> None:
    """From its first word, before any request, and in its end."""
    command = [sys.executable, "-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()"]
    env = {"API_PORT": "1", "API_HOST": "127.0.0.1", "ECHO_VAR": str(tmp_path)}
    if os.geteuid() == 0:
        env["API_KEYS"] = "required"
        env["API_HOST"] = "203.0.113.1"  # an address that this machine does not have: nobody can bind it
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LOG_FORMAT": "json"} | env,
        capture_output=True,
        text=True,
    )
    told = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert done.returncode != 0
    assert "gunicorn.error" in {event["logger"] for event in told}
    assert any("Starting gunicorn" in event["event"] for event in told)
    assert logging.getLogger("gunicorn.error").handlers == []
