"""Secrets in the repository's files: exit status 1 for one that .ci/accepted.toml does not accept."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings, get_settings

ROOT = Path(__file__).resolve().parent.parent

ASKS_OTHERS = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"
"""detect-secrets would try what it finds at the service that it seems to be for."""

PUBLIC = ("docker/locks/*",)
"""Files of nothing but digests: they would take a third of the time."""


class Finding(NamedTuple):
    """What looks like a secret."""

    file: str
    line: int
    kind: str
    text: str


def scan(root: Path) -> list[Finding]:
    """All that looks like a secret in the files that git knows, or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.splitlines() if not any(fnmatch(name, public) for public in PUBLIC)]
    found = SecretsCollection(root=str(root))
    with default_settings():
        get_settings().disable_filters(ASKS_OTHERS)
        found.scan_files(*names)
    places = sorted((name, secret.line_number, secret.type) for name, secret in found)
    return [
        Finding(name, line, kind, (root / name).read_text(errors="replace").splitlines()[line - 1])
        for name, line, kind in places
    ]


def judge(found: list[Finding], accepted: list[dict[str, Any]]) -> list[str]:
    """A line for each that is not accepted, which does not tell it."""

    def is_accepted(one: Finding) -> bool:
        return any(
            fnmatch(one.file, entry["files"]) and one.kind in entry["kinds"] and re.search(entry["lines"], one.text)
            for entry in accepted
        )

    return [f"{one.file}:{one.line}: {one.kind}" for one in found if not is_accepted(one)]


def main(root: Path) -> int:
    """The exit status."""
    found = scan(root)
    refused = judge(found, tomllib.loads((ROOT / ".ci" / "accepted.toml").read_text())["secret"])
    print(*refused, f"secrets: {len(found)} look like such, {len(found) - len(refused)} accepted", sep="\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else ROOT))
