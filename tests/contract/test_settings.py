"""Settings: read once, validated, documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, Site

from echo_tasks import settings
from echo_tasks.errors import SettingsError
from echo_tasks.local import dotenv
from echo_tasks.settings import Settings, load


def test_defaults_need_no_environment() -> None:
    """An empty environment is a whole configuration, with both servers on loopback."""
    found = load({})
    assert found.broker == "redis://127.0.0.1:6379/0"
    assert found.store == "redis://127.0.0.1:6380/0"
    assert found.api_host == found.flower_address == "127.0.0.1"


def test_an_empty_variable_is_unset() -> None:
    """Shells and Compose files pass empty variables: they mean the default."""
    assert load({"ECHO_SLOTS": "", "ECHO_MODEL": " "}) == load({})


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("ECHO_SLOTS", "many", "from 1 to 1024"),
        ("ECHO_SLOTS", "0", "from 1 to 1024"),
        ("BROKER_PORT", "65536", "from 1 to 65535"),
        ("ECHO_DTYPE", "fp8", "fp32 or bf16"),
        ("EVICTION_POLICY", "random", "lru or lfu"),
        ("ENABLE_CACHING", "perhaps", "true or false"),
        ("ECHO_MEMBRANE_STATES", "wisdom=one", "membranes: memory, reasoning, grammar, integration"),
        ("ECHO_MEMBRANE_STATES", "memory", "no membrane=NAME"),
        ("BROKER_URL", "amqp://localhost", "redis://host:port/db"),
        ("BROKER_URL", "redis://:secret@host:99999/0", "redis://host:port/db"),
        ("BROKER_URL", "redis://:sec/secret@host/0", "redis://host:port/db"),
        ("CACHE_URL", "redis://host/db", "redis://host:port/db"),
        ("SERVICE_TIMEOUT", "nan", "from 1 to 3600"),
        ("SCALE_UP_THRESHOLD", "1.5", "from 0 to 1"),
        ("SCALE_DOWN_THRESHOLD", "nan", "from 0 to 1"),
        ("MIN_INSTANCES", "0", "from 1 to 1000"),
        ("SCALE_ACTUATOR", "fleet", "processes or docker or kubernetes or none"),
        ("FLOWER_URL_PREFIX", "tools flower", "as in tools/flower"),
        ("FLOWER_PERSISTENT", "perhaps", "true or false"),
        ("FLOWER_MAX_TASKS", "0", "from 1"),
        ("CLIENT_HEAD_S", "0", "from 1 to 3600"),
        ("CORS_ORIGINS", "app.example.org", "as in https://app.example.org:8443"),
        ("CORS_ORIGINS", "https://app.example.org/page", "as in https://app.example.org:8443"),
        ("CORS_ORIGINS", "*, null", "as in https://app.example.org:8443"),
        ("API_KEYS", "perhaps", "auto or required or off"),
        ("REQUESTS_PER_MINUTE", "-1", "from 0"),
    ],
)
def test_a_bad_value_names_variable_value_and_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    """One line that a person can act on, without the password that was in the value."""
    with pytest.raises(SettingsError) as caught:
        load({variable: value})
    (line,) = caught.value.problems
    assert line.startswith(f"{variable}=")
    assert allowed in line
    assert "\n" not in line
    assert "secret" not in line
    assert re.sub(r"//.*@", "//***@", value) in line


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"MIN_INSTANCES": "5", "MAX_INSTANCES": "3"}, "MAX_INSTANCES='3' .* below MIN_INSTANCES, which is 5"),
        ({"MIN_INSTANCES": "11"}, "MAX_INSTANCES='10' .* below MIN_INSTANCES, which is 11"),
        ({"SCALE_DOWN_THRESHOLD": "0.8"}, "SCALE_DOWN_THRESHOLD='0.8' .* below SCALE_UP_THRESHOLD, which is 0.8"),
        ({"SCALE_UP_THRESHOLD": "0.2"}, "SCALE_DOWN_THRESHOLD='0.3' .* below SCALE_UP_THRESHOLD, which is 0.2"),
    ],
)
def test_settings_that_do_not_go_together_are_named(given: dict[str, str], line: str) -> None:
    """One line names both, whichever of them was given."""
    with pytest.raises(SettingsError) as caught:
        load(given)
    (told,) = caught.value.problems
    assert re.match(line, told), told


def test_every_bad_value_is_named() -> None:
    """Two bad values are two lines."""
    with pytest.raises(SettingsError) as caught:
        load({"ECHO_SLOTS": "x", "API_PORT": "y"})
    assert sorted(line.split("=")[0] for line in caught.value.problems) == ["API_PORT", "ECHO_SLOTS"]


@pytest.mark.parametrize(
    "program",
    [
        ("-m", "celery", "-A", "echo_tasks", "worker"),
        ("-m", "celery", "-A", "echo_tasks", "flower"),
        ("-m", "celery", "-A", "echo_tasks", "inspect", "ping"),
        ("-m", "monitoring.terminal", "--once"),
        ("-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()"),
        ("-m", "echo_tasks.local.servers", "broker"),
        ("-m", "echo_tasks.local.attach", "api", "true"),
        ("-m", "autoscale"),
        ("-m", "monitoring.exporter"),
        ("-m", "echo_tasks.local.control", "start"),
    ],
)
def test_no_program_starts_with_a_bad_setting(program: tuple[str, ...], tmp_path: Path) -> None:
    """Every entry point ends with status 78 and the one line, and no traceback."""
    site = Site(tmp_path, {"ECHO_SLOTS": "many"})
    done = subprocess.run([sys.executable, *program], cwd=ROOT, env=site.env, capture_output=True, text=True)
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith("echo: ECHO_SLOTS='many' is not allowed")
    assert len(done.stderr.splitlines()) == 1


def test_a_misspelt_name_in_the_file_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is taken up all the same, as what is other programs'; of those, and of ours, not a word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {})
    ours = "".join(f"{name.upper()}=\n" for name in Settings.model_fields)
    others = "EDGE_SERVER_NAME=a\nWORKERS=2\nHTTPS_PORT=8443\nECHO_VENV=.venv\nPATH=/bin\nTORCH_INDEX=x\n"
    (tmp_path / ".env").write_text(f"{ours}BROKER_PASSWORD_FILE=\n{others}ECHO_SLOT=4\nSCALE_DOWN_TRESHOLD=0.2\n")
    dotenv.read()
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 2)[2] for line in told] == [
        "ECHO_SLOT is no setting; ECHO_SLOTS is",
        "SCALE_DOWN_TRESHOLD is no setting; SCALE_DOWN_THRESHOLD is",
    ]
    assert (os.environ["ECHO_SLOT"], os.environ["WORKERS"]) == ("4", "2")


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """The table of the README and the code say the same."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", (ROOT / "README.md").read_text(), re.M)
    documented = {name: (default, allowed, meaning) for name, default, allowed, meaning in rows}
    assert documented == {
        name.upper(): (
            f"`{default}`" if (default := settings.default_of(name)) else "",
            settings.allowed(name),
            str(field.description),
        )
        for name, field in Settings.model_fields.items()
    }


def test_origins_are_as_browsers_write_them() -> None:
    """In lower case, and without the port that goes without saying."""
    found = load({"CORS_ORIGINS": "https://App.Example.org:443, http://[::1]:3000,,http://localhost:80"}).cors_origins
    assert found == {"https://app.example.org", "http://[::1]:3000", "http://localhost"}
