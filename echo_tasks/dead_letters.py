"""`python -m echo_tasks.dead_letters`: the dead-letter list on the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from echo_tasks import connections
from echo_tasks.backlog import BacklogBounds
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import BrokerUnavailable, FarmFull, LetterNotFound, MembraneFull, RecordTooNew
from echo_tasks.ledger import Ledger
from echo_tasks.letters import DeadLetters
from echo_tasks.publishing import Publisher
from echo_tasks.sessions import SessionBounds
from echo_tasks.settings import Settings, current


def connect(settings: Settings) -> DeadLetters:
    """The dead letters on the broker that the settings name."""
    client = connections.impatient(settings.broker)
    session_s = 60 * settings.session_timeout_minutes
    bounds, backlog = SessionBounds.of(settings), BacklogBounds.of(settings)
    retention_s = settings.job_retention_s
    ledger = Ledger(client, retention_s=retention_s, session_s=session_s, bounds=bounds, backlog=backlog)
    return DeadLetters(client, ledger, Dispatcher(ledger, Publisher(settings.broker), None))


def run(letters: DeadLetters, command: str, job_ids: Sequence[str]) -> None:
    """Do what a command says, and print what came of it. Raises LetterNotFound and RecordTooNew."""
    if command == "list":
        for letter in letters.page():
            print(letter.spec.job_id, f"{letter.at:.0f}", letter.step, letter.deliveries, letter.reason)
    for job_id in job_ids:
        if command == "show":
            print(letters.read(job_id).model_dump_json(indent=2))
        elif command == "replay":
            print(letters.replay(job_id).job_id)
        elif command == "discard":
            letters.discard(job_id)


def main() -> None:
    """Parse the command line and run it; ends with status 1 and one line when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m echo_tasks.dead_letters")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the latest hundred: job, time, step, deliveries, reason")
    for name, what in (
        ("show", "print letters whole"),
        ("replay", "ask again, and print the new jobs' ids"),
        ("discard", "take letters off the list"),
    ):
        commands.add_parser(name, help=what).add_argument("job_ids", nargs="+", metavar="JOB_ID")
    chosen = parser.parse_args()
    try:
        run(connect(current()), chosen.command, getattr(chosen, "job_ids", ()))
    except (BrokerUnavailable, FarmFull, LetterNotFound, MembraneFull, RecordTooNew) as error:
        sys.exit(f"echo: {error}")


if __name__ == "__main__":
    main()
