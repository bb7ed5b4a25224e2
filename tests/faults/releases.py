"""Releases of the project as trees of files: this one, and the one before it out of the history."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import ROOT

from echo_tasks import __version__


@dataclass(frozen=True)
class Release:
    """Where a release's code is, and what it calls itself."""

    tree: Path
    version: str


THIS = Release(ROOT, __version__)


def previous(folder: Path) -> Release:
    """The release before this one, unpacked; skips the test where the history does not have it."""
    version, commit = _named()
    for name in (f"v{version}", commit):
        packed = subprocess.run(["git", "archive", name], cwd=ROOT, capture_output=True)
        if packed.returncode == 0:
            break
    else:
        pytest.skip(f"release {version}, commit {commit}, is not in the history that is here")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    told = folder / "deep_tree_echo.egg-info"  # as an installation leaves it: 0.1.0 asks that which release it is
    told.mkdir(exist_ok=True)
    (told / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: deep-tree-echo\nVersion: {version}\n")
    return Release(folder, version)


def _named() -> tuple[str, str]:
    """The version and the commit of the release before, as the changelog tells them."""
    told = re.findall(r"^## ([\d.]+) .*commit (\w+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    return told[0]
