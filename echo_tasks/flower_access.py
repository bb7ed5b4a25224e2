"""Who may use Flower: what the settings, and the files that they name, say of it, checked. Read by Flower alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celery.utils.imports import symbol_by_name
from flower.utils.authentication import validate_auth_option
from pydantic import SecretStr

from echo_tasks.errors import SettingsError
from echo_tasks.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Users, each `user:password`, and Flower's secret at the OAuth provider; either may be missing."""

    users: list[str]
    oauth2_secret: str | None


def access(settings: Settings) -> Access:
    """Who may use Flower. Raises SettingsError, which names settings and lines, and tells no secret."""
    if problem := _oauth_problem(settings):
        raise SettingsError([problem])
    return Access(_users(settings), _oauth2_secret(settings))


def _users(settings: Settings) -> list[str]:
    found = []
    if settings.flower_basic_auth:
        pairs = settings.flower_basic_auth.get_secret_value().split(",")
        found += [_user(pair, "FLOWER_BASIC_AUTH", number) for number, pair in enumerate(pairs, 1)]
    if file := settings.flower_basic_auth_file:
        name = f"FLOWER_BASIC_AUTH_FILE={file}"
        lines = [(number, line) for number, line in enumerate(_text(file, name).splitlines(), 1) if line.strip()]
        if not lines:
            raise SettingsError([f"{name} is empty; user:password is expected, one a line"])
        found += [_user(line, name, number) for number, line in lines]
    return found


def _user(pair: str, name: str, number: int) -> str:
    user, _, password = pair.strip().partition(":")
    if not user or not password:
        raise SettingsError([f"{name}: number {number} is not user:password"])
    if not pair.isascii():  # Flower compares them in constant time, which it can do with ASCII alone
        raise SettingsError([f"{name}: number {number} has characters that are not ASCII"])
    return f"{user}:{password}"


def _oauth2_secret(settings: Settings) -> str | None:
    secret: SecretStr | None = settings.flower_oauth2_secret
    if file := settings.flower_oauth2_secret_file:
        name = f"FLOWER_OAUTH2_SECRET_FILE={file}"
        if not (text := _text(file, name).strip()):
            raise SettingsError([f"{name} is empty"])
        return text
    return secret.get_secret_value() if secret else None


def _oauth_problem(settings: Settings) -> str:
    """What of the settings for OAuth does not go together, in a line; empty when all does."""
    auth, provider = settings.flower_auth, settings.flower_auth_provider
    if provider and not auth:
        return f"FLOWER_AUTH_PROVIDER={provider!r} without FLOWER_AUTH would let everybody in; say who may log in"
    if auth and not validate_auth_option(auth):
        return f"FLOWER_AUTH={auth!r} is not allowed: an address, several with bars between, or .*@domain"
    missing = [name for name in _needed(settings) if getattr(settings, name) is None]
    if settings.flower_oauth2_secret_file and "flower_oauth2_secret" in missing:
        missing.remove("flower_oauth2_secret")
    if missing:
        return f"FLOWER_AUTH={auth!r} needs {', '.join(name.upper() for name in missing)}, too"
    return f"FLOWER_AUTH_PROVIDER={provider!r} cannot be imported" if provider and not _is_there(provider) else ""


_OF_FLOWER = "flower.views.auth."


def _needed(settings: Settings) -> list[str]:
    """The settings that logging in by OAuth needs; a handler that is not Flower's own knows what it does."""
    if not settings.flower_auth:
        return []
    provider = settings.flower_auth_provider or _OF_FLOWER
    if not provider.startswith(_OF_FLOWER):
        return []
    return [f"flower_{name}" for name in ("auth_provider", "oauth2_key", "oauth2_secret", "oauth2_redirect_uri")]


def _is_there(provider: str) -> bool:
    try:
        symbol_by_name(provider)
    except (ImportError, AttributeError, ValueError):
        return False
    return True


def _text(file: Path, name: str) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError([f"{name}: {reason}"]) from error
