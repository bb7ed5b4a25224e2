"""Who may use Flower: what the settings say of it, checked. Read by Flower alone."""

from __future__ import annotations

from dataclasses import dataclass

from celery.utils.imports import symbol_by_name
from flower.utils.authentication import validate_auth_option

from echo_tasks.errors import SettingsError
from echo_tasks.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Users, each `user:password`, and Flower's secret at the OAuth provider; either may be missing."""

    users: list[str]
    oauth2_secret: str | None


def access(settings: Settings) -> Access:
    """Who may use Flower. Raises SettingsError, which names settings and numbers, and tells no secret."""
    if problem := _oauth_problem(settings):
        raise SettingsError([problem])
    return Access(_users(settings), _oauth2_secret(settings))


def _users(settings: Settings) -> list[str]:
    if not settings.flower_basic_auth:
        return []
    lines = enumerate(settings.flower_basic_auth.get_secret_value().splitlines(), 1)
    return [_user(line, number) for number, line in lines if line.strip()]


def _user(pair: str, number: int) -> str:
    user, _, password = pair.strip().partition(":")
    if not user or not password:
        raise SettingsError([f"FLOWER_BASIC_AUTH: number {number} is not user:password"])
    if not pair.isascii():  # Flower compares them in constant time, which it can do with ASCII alone
        raise SettingsError([f"FLOWER_BASIC_AUTH: number {number} has characters that are not ASCII"])
    return f"{user}:{password}"


def _oauth2_secret(settings: Settings) -> str | None:
    secret = settings.flower_oauth2_secret
    return secret.get_secret_value() if secret else None


def _oauth_problem(settings: Settings) -> str:
    """What of the settings for OAuth does not go together, in a line; empty when all does."""
    auth, provider = settings.flower_auth, settings.flower_auth_provider
    if provider and not auth:
        return f"FLOWER_AUTH_PROVIDER={provider!r} without FLOWER_AUTH would let everybody in; say who may log in"
    if auth and not validate_auth_option(auth):
        return f"FLOWER_AUTH={auth!r} is not allowed: an address, several with bars between, or .*@domain"
    missing = [name for name in _needed(settings) if getattr(settings, name) is None]
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
