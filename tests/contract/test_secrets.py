"""Secrets: from files, into URLs, and told to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from echo_tasks import addresses, connections
from echo_tasks.errors import SettingsError
from echo_tasks.local import servers
from echo_tasks.settings import Settings, is_secret, load, redacted

ODD = 'p/w:@#?; %é"\\'
"""A password of all that has a meaning somewhere on its way."""


def refusal(given: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(given)
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ECHO_SLOTS", "3\n", 3),
        ("BROKER_URL", "redis://me@host/1\r\n", "redis://me@host/1"),
        ("LOG_TEXT", "true", True),
    ],
)
def test_any_setting_may_be_in_a_file(name: str, text: str, value: object, tmp_path: Path) -> None:
    """NAME_FILE names it, without the line's end that editors leave; it is checked as the variable would be."""
    file = tmp_path / "value"
    file.write_bytes(text.encode())
    assert getattr(load({f"{name}_FILE": str(file), name: ""}), name.lower()) == value


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields if is_secret(name)])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    """By the variable, in a line; so is one without a word in it."""
    file = tmp_path / "secret"
    assert refusal({f"{name}_FILE": str(file)}) == f"{name}_FILE={file}: No such file or directory"
    file.write_text(" \n\n")
    assert refusal({f"{name}_FILE": str(file)}) == f"{name}_FILE={file} is empty"
    file.write_bytes(b"\xff\xfe")
    assert refusal({f"{name}_FILE": str(file)}) == f"{name}_FILE={file}: it is no text"
    assert refusal({f"{name}_FILE": str(tmp_path)}) == f"{name}_FILE={tmp_path}: Is a directory"


def test_what_is_given_twice_is_refused(tmp_path: Path) -> None:
    """Which of two passwords holds is not to be guessed; every such pair is told."""
    file = tmp_path / "secret"
    file.write_text("hush")
    with pytest.raises(SettingsError) as caught:
        load({name: str(file) for one in ("BROKER_PASSWORD", "LOG_LEVEL") for name in (one, f"{one}_FILE")})
    assert caught.value.problems == [
        f"{name} and {name}_FILE are both given: one of them is enough" for name in ("BROKER_PASSWORD", "LOG_LEVEL")
    ]
    assert "the URL has one, too" in refusal({"BROKER_URL": "redis://:hush@host", "BROKER_PASSWORD_FILE": str(file)})


def test_a_bad_value_of_a_file_is_not_printed(tmp_path: Path) -> None:
    """Whatever it is: the file's name says enough."""
    file = tmp_path / "value"
    file.write_text("hush")
    for name in ("ECHO_SLOTS", "BROKER_URL", "LOG_LEVEL", "SCALE_UP_THRESHOLD"):
        line = refusal({f"{name}_FILE": str(file)})
        assert line.startswith(f"{name}_FILE={file} is not allowed")
        assert "hush" not in line


@pytest.mark.parametrize(
    "url", ["redis://:hush@host:hush/0", "redis://me:hu@sh@h:99999", "redis://me:hu sh@h:0x1", "redis://a:hu/sh@host"]
)
def test_no_part_of_a_password_is_in_the_line_about_its_url(url: str) -> None:
    """Nor where the URL is so wrong that its parts cannot be told apart."""
    for name in ("BROKER_URL", "CACHE_URL"):
        line = refusal({name: url})
        assert line.startswith(f"{name}='redis://***@h")
        assert not any(part in line.split("***@")[0] for part in ("hu", "sh")), line


def test_settings_that_are_printed_show_no_secret() -> None:
    """As in a traceback: passwords by themselves, and in URLs."""
    settings = load({"BROKER_URL": "redis://:hush@host", "CACHE_PASSWORD": "hush", "FLOWER_BASIC_AUTH": "eve:hush"})
    assert "hush" not in repr(settings) + str(settings)
    told = redacted(f"at {settings.broker} and {settings.store}, by worker@host")
    assert told == "at redis://***@host and redis://***@127.0.0.1:6380/0, by worker@host"


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://host:7000/1", "redis://:p%2Fw@host:7000/1"),
        ("redis://me@host", "redis://me:p%2Fw@host"),
        ("redis://[::1]:7000", "redis://:p%2Fw@[::1]:7000"),
        ("sentinel://one:1/3;sentinel://two", "sentinel://:p%2Fw@one:1/3;sentinel://:p%2Fw@two"),
    ],
)
def test_a_url_is_completed_by_the_password(url: str, whole: str) -> None:
    """For the user that it names, at each member; both servers alike."""
    for server in ("BROKER", "CACHE"):
        settings = load({f"{server}_URL": url, f"{server}_PASSWORD": "p/w"})
        assert addresses.for_celery(settings.broker if server == "BROKER" else settings.store) == whole


@pytest.mark.parametrize("url", ["redis://me@host:7000/1", "rediss://me@host/1", "sentinel://me@host/1"])
def test_a_password_of_any_characters_arrives(url: str) -> None:
    """As our clients log in with it."""
    settings = load({"BROKER_URL": url, "BROKER_PASSWORD": ODD})
    with connections.impatient(settings.broker) as client:
        told = client.connection_pool.connection_kwargs
    assert (told["username"], told["password"], told["db"]) == ("me", ODD, 1)


def test_the_own_servers_are_told_their_passwords_on_no_command_line() -> None:
    """They read them; without one they read nothing."""
    settings = load({"BROKER_PASSWORD": "hush"})
    assert "hush" not in " ".join(servers.arguments("broker", settings))
    assert servers.told("broker", settings) == rb'requirepass "\x68\x75\x73\x68"' + b"\n"
    assert servers.told("store", settings) == b""
