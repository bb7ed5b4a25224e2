"""`python -m echo_tasks.access`: API keys on the command line."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from echo_tasks import connections
from echo_tasks.access.grants import SCOPES, Bounds, Grant
from echo_tasks.access.keyring import Keyring, Request
from echo_tasks.errors import BrokerUnavailable, KeyNotFound
from echo_tasks.settings import current

DAY_S = 86400

_MOST = 1_000_000_000
"""Of whatever is counted; further than that there is no bound."""

_MOST_DAYS = 36_500
_LONGEST_NAME = 128


def make(keyring: Keyring, chosen: argparse.Namespace) -> None:
    """Print a new key, which nobody can be told again."""
    given = {name: value for name in Bounds.model_fields if (value := getattr(chosen, name)) is not None}
    if given.get("priority", 1) > given.get("priority_most", 10):
        sys.exit("echo: --priority is above --priority-most")
    expires_in_s = None if chosen.expires_days is None else math.ceil(chosen.expires_days * DAY_S)
    scopes = tuple(scope for scope in SCOPES if scope in (chosen.scopes or ("submit", "read")))
    print(keyring.make(Request(chosen.name, scopes, Bounds(**given), expires_in_s, chosen.owner)))


def listed(keyring: Keyring, _: argparse.Namespace) -> None:
    """Print a line for each key."""
    for grant in keyring.all():
        used = "never" if grant.last_used_at is None else _moment(grant.last_used_at)
        print(
            grant.key_id,
            ",".join(grant.scopes),
            _state(grant),
            f"made {_moment(grant.created_at)}",
            f"used {used}",
            grant.name,
        )


def show(keyring: Keyring, chosen: argparse.Namespace) -> None:
    """Print all that is known of a key."""
    print(keyring.read(chosen.key_id).model_dump_json(indent=2, exclude_none=True))


def rotate(keyring: Keyring, chosen: argparse.Namespace) -> None:
    """Print a key with a new secret."""
    print(keyring.rotate(chosen.key_id, chosen.grace))


def revoke(keyring: Keyring, chosen: argparse.Namespace) -> None:
    """Revoke a key."""
    keyring.revoke(chosen.key_id)


_COMMANDS: Mapping[str, Callable[[Keyring, argparse.Namespace], None]] = {
    "make": make,
    "list": listed,
    "show": show,
    "rotate": rotate,
    "revoke": revoke,
}


def main() -> None:
    """Parse the command line and run it; ends with status 1 and one line when that cannot be done."""
    chosen = _parser().parse_args()
    try:
        _COMMANDS[chosen.command](Keyring(connections.impatient(current().broker)), chosen)
    except ValidationError as error:
        sys.exit(f"echo: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}")
    except (BrokerUnavailable, KeyNotFound) as error:
        sys.exit(f"echo: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m echo_tasks.access")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_make(commands.add_parser("make", help="make a key, and print it: this once"))
    commands.add_parser("list", help="all keys: id, scopes, state, times, name")
    commands.add_parser("show", help="print what is known of a key").add_argument("key_id", metavar="KEY_ID")
    rotating = commands.add_parser("rotate", help="give a key another secret, and print it: this once")
    rotating.add_argument("key_id", metavar="KEY_ID")
    grace = _within(int, 0, _MOST_DAYS * DAY_S)
    rotating.add_argument(
        "--grace", type=grace, default=3600, metavar="S", help="seconds that the old one is good (3600)"
    )
    commands.add_parser("revoke", help="have a key be good for nothing").add_argument("key_id", metavar="KEY_ID")
    return parser


def _within(kind: type[int] | type[float], least: float, most: int, *, above: bool = False) -> Callable[[str], float]:
    """What reads an option's number, which is from `least`, or above it, to `most`."""

    def read(text: str) -> float:
        with suppress(ValueError):
            number = kind(text)
            if least <= number <= most and not (above and number == least):
                return number
        raise argparse.ArgumentTypeError(f"{text!r} is no number {'above' if above else 'from'} {least:g} to {most}")

    return read


def _name(text: str) -> str:
    if not (text.strip() and text.isprintable() and len(text) <= _LONGEST_NAME):
        raise argparse.ArgumentTypeError(f"a name has 1 to {_LONGEST_NAME} printable characters")
    return text.strip()


def _add_make(making: argparse.ArgumentParser) -> None:
    making.add_argument("name", type=_name, help="whose it is, for people to read")
    making.add_argument(
        "--scope", action="append", choices=SCOPES, dest="scopes", help="several may be given (submit, read)"
    )
    making.add_argument("--owner", metavar="KEY_ID", help="a key with which it shares jobs, sessions and quotas")
    days = _within(float, 0, _MOST_DAYS, above=True)
    making.add_argument("--expires-days", type=days, metavar="N", help="days that it is good (for ever)")
    for name, what in (
        ("priority", "of jobs that name none (1)"),
        ("priority-most", "highest that jobs may name (10)"),
        ("open-jobs", "most jobs that have not ended (any)"),
        ("jobs-per-day", "most jobs of a day, UTC (any)"),
        ("tokens-per-day", "tokens of a day, UTC, after which no more jobs are taken (any)"),
        ("sessions", "most sessions that it has named and that live (any)"),
        ("requests-per-minute", "most requests of a minute (REQUESTS_PER_MINUTE)"),
    ):
        making.add_argument(f"--{name}", type=_within(int, 1, _MOST), metavar="N", help=what)


def _state(grant: Grant) -> str:
    if grant.revoked_at is not None:
        return "revoked"
    if grant.expires_at is None:
        return "good"
    return "expired" if grant.expires_at <= datetime.now(UTC).timestamp() else f"good-until-{_moment(grant.expires_at)}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


if __name__ == "__main__":
    main()
