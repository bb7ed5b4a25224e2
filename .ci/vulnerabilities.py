"""Known vulnerabilities of what docker/locks names: exit status 1 for one that .ci/accepted.toml does not accept.

Without a service that answers nothing is audited: that is said aloud, and is no failure of the code.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("docker/locks/all.txt", "docker/locks/torch-cuda.txt", "docker/locks/build.txt")

SERVICES = (("--vulnerability-service", "pypi"), ("--vulnerability-service", "osv"))
"""pip-audit's, in the order in which they are asked until one answers."""


class Finding(NamedTuple):
    """A vulnerability of a locked package, by all its names."""

    package: str
    version: str
    names: frozenset[str]
    fixed_in: tuple[str, ...]


class Unaudited(Exception):
    """The service did not answer, or knows none of the packages."""


UNREACHABLE = ("ConnectionError", "Timeout", "ServiceError", "Could not connect")
"""By these words pip-audit's last line tells that it is the service's fault."""


def audit(*service: str) -> list[Finding]:
    """What a service finds. Raises Unaudited."""
    locks = [option for lock in LOCKS for option in ("--requirement", lock)]
    command = [sys.executable, "-m", "pip_audit", *locks, "--no-deps", "--disable-pip", "--format", "json", *service]
    done = subprocess.run(  # noqa: S603 - our own words
        [*command, "--progress-spinner", "off"], cwd=ROOT, capture_output=True, text=True
    )
    if not done.stdout:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:300]
        raise Unaudited(last) if any(word in last for word in UNREACHABLE) else RuntimeError(done.stderr)
    packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        raise Unaudited(f"it knows none of {len(packages)} packages")
    print(*(package["skip_reason"] for package in packages if "vulns" not in package), sep="\n", end="")
    return [
        Finding(package["name"], package["version"], frozenset([one["id"], *one["aliases"]]), (*one["fix_versions"],))
        for package in audited
        for one in package["vulns"]
    ]


def judge(findings: list[Finding], accepted: list[dict[str, str]]) -> list[str]:
    """A line for each finding that is not accepted."""

    def is_accepted(finding: Finding) -> bool:
        return any(finding.package == entry["package"] and entry["id"] in finding.names for entry in accepted)

    return [
        f"{one.package} {one.version}: {', '.join(sorted(one.names))}; fixed in {', '.join(one.fixed_in) or 'none'}"
        for one in findings
        if not is_accepted(one)
    ]


def main(options: list[str]) -> int:
    """The exit status; options, if any, are pip-audit's, instead of its services."""
    accepted = tomllib.loads((ROOT / ".ci" / "accepted.toml").read_text())["vulnerability"]
    for service in [tuple(options)] if options else SERVICES:
        try:
            findings = audit(*service)
        except Unaudited as reason:
            print(f"vulnerabilities: {' '.join(service)}: no answer: {reason}")
            continue
        refused = judge(findings, accepted)
        print(*refused, f"vulnerabilities: {len(findings)} found, {len(findings) - len(refused)} accepted", sep="\n")
        return 1 if refused else 0
    print("vulnerabilities: NOT AUDITED: no service answers from this machine. THE LOCKS WERE NOT CHECKED.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
