"""Who may use Flower: from variables and files, refused with a name and without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from echo_tasks.commands import prepare_flower
from echo_tasks.errors import SettingsError
from echo_tasks.flower_access import access
from echo_tasks.settings import load

OAUTH = {
    "FLOWER_AUTH": "me@example.org|you@example.org",
    "FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler",
    "FLOWER_OAUTH2_KEY": "id",
    "FLOWER_OAUTH2_SECRET": "hush",
    "FLOWER_OAUTH2_REDIRECT_URI": "http://localhost/login",
}


def refusal(given: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        access(load(given))
    (line,) = caught.value.problems
    return line


def test_users_come_from_the_variable_or_the_file(tmp_path: Path) -> None:
    """A comma parts them in the variable alone: in the file a password may have one, as it may have a colon."""
    assert access(load({"FLOWER_BASIC_AUTH": "eve:one, dan:two"})).users == ["eve:one", "dan:two"]
    file = tmp_path / "users"
    file.write_text("ada:co,mma\n\nbob:co:lon \n")
    assert access(load({"FLOWER_BASIC_AUTH_FILE": str(file)})).users == ["ada:co,mma", "bob:co:lon"]
    file.write_text("ada:co,mma\n")
    assert access(load({"FLOWER_BASIC_AUTH_FILE": str(file)})).users == ["ada:co,mma"]
    assert access(load({})).users == []


def test_nothing_of_it_is_printed() -> None:
    """Neither settings nor what is read of them show a secret where they are printed, as in a log or a traceback."""
    settings = load(OAUTH | {"FLOWER_BASIC_AUTH": "eve:hush"})
    assert "hush" not in repr(settings) + str(settings) + repr(access(settings))


@pytest.mark.parametrize("value", ["hush", "eve:", ":hush", "eve:hush,hush"])
def test_what_is_no_user_is_named_by_its_number(value: str, tmp_path: Path) -> None:
    """And not by what it says."""
    assert refusal({"FLOWER_BASIC_AUTH": value}).startswith("FLOWER_BASIC_AUTH: number ")
    file = tmp_path / "users"
    file.write_text("ada:one\n\nhush\n")
    assert refusal({"FLOWER_BASIC_AUTH_FILE": str(file)}) == "FLOWER_BASIC_AUTH: number 3 is not user:password"


def test_a_password_that_flower_cannot_compare_is_refused() -> None:
    """It would answer whoever logs in with an error, for ever."""
    assert "not ASCII" in refusal({"FLOWER_BASIC_AUTH": "eve:pässword"})


def test_oauth_with_all_that_it_needs(tmp_path: Path) -> None:
    """The secret may be in a file."""
    assert access(load(OAUTH)).oauth2_secret == "hush"  # noqa: S105
    file = tmp_path / "secret"
    file.write_text("whisper\n")
    by_file = {name: value for name, value in OAUTH.items() if name != "FLOWER_OAUTH2_SECRET"}
    assert access(load(by_file | {"FLOWER_OAUTH2_SECRET_FILE": str(file)})).oauth2_secret == "whisper"  # noqa: S105


@pytest.mark.parametrize("missing", [name for name in OAUTH if name != "FLOWER_AUTH"])
def test_oauth_that_lacks_something_says_what(missing: str) -> None:
    """Nobody could log in."""
    line = refusal({name: value for name, value in OAUTH.items() if name != missing})
    assert line == f"FLOWER_AUTH={OAUTH['FLOWER_AUTH']!r} needs {missing}, too"


def test_a_provider_without_addresses_would_let_everybody_in() -> None:
    """Flower asks nobody to log in unless it knows who may."""
    line = refusal({name: value for name, value in OAUTH.items() if name != "FLOWER_AUTH"})
    assert "would let everybody in" in line


@pytest.mark.parametrize("auth", ["me@*", ".*@a|.*@b", "*.*@example.org"])
def test_addresses_that_flower_does_not_know_are_refused(auth: str) -> None:
    """One star at most, before the @."""
    assert refusal(OAUTH | {"FLOWER_AUTH": auth}).startswith(f"FLOWER_AUTH={auth!r} is not allowed")


@pytest.mark.parametrize("provider", ["no.such.Handler", "flower.views.auth.NoSuchHandler", "Handler"])
def test_a_provider_that_is_not_there_is_refused(provider: str) -> None:
    """Flower would say so to whoever logs in."""
    line = refusal(OAUTH | {"FLOWER_AUTH_PROVIDER": provider})
    assert line == f"FLOWER_AUTH_PROVIDER={provider!r} cannot be imported"


def test_flowers_environment_is_made_ready() -> None:
    """What is empty counts as unset; loopback and our file, unless others were chosen."""
    environ = {"FLOWER_PORT": "", "FLOWER_URL_PREFIX": " ", "FLOWER_MAX_TASKS": "5", "OTHER": ""}
    prepare_flower(load({}), environ)
    assert Path(environ.pop("FLOWER_CONF")).name == "flowerconfig.py"
    assert environ == {"FLOWER_MAX_TASKS": "5", "OTHER": "", "FLOWER_ADDRESS": "127.0.0.1"}
    chosen = {"FLOWER_CONF": "mine.py", "FLOWER_ADDRESS": "10.0.0.1"}
    prepare_flower(load({}), chosen)
    assert chosen == {"FLOWER_CONF": "mine.py", "FLOWER_ADDRESS": "10.0.0.1"}
