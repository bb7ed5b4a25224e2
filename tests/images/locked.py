"""The locks of docker/locks, read."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from processes import ROOT

LOCKS = ROOT / "docker" / "locks"
IMAGES = ("api", "worker", "control")
EXTRAS = ("docker", "kubernetes", "tracing")
"""The extras that images are made with."""


def requirements(path: Path) -> list[Requirement]:
    """The requirements of a file, without their hashes."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    return [Requirement(line.split(" --hash")[0]) for line in lines if line and not line.startswith("#")]


def pinned(path: Path) -> set[tuple[str, str, str]]:
    """Name, version and marker of all that a lock names."""
    return {(name(one), str(one.specifier), str(one.marker)) for one in requirements(path)}


def names(path: Path) -> set[str]:
    """The distributions that a file names."""
    return {name(one) for one in requirements(path)}


def of_image(image: str) -> set[str]:
    """The distributions of an image for CPUs."""
    return names(LOCKS / f"{image}.txt") | (names(LOCKS / "torch-cpu.txt") if image == "worker" else set())


def direct() -> list[Requirement]:
    """What pyproject.toml asks for: what the farm needs, and the extras of the images."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def name(requirement: Requirement) -> str:
    """The distribution's name in the one form that compares."""
    return str(canonicalize_name(requirement.name))
