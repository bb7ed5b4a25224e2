"""Images built without a Docker engine: a Debian made by debootstrap, and buildah with a storage of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import PYTHON, ROOT

PROGRAMS = ("buildah", "debootstrap", "unshare", "nsenter")
SUITE = "bookworm"
"""Debian 12: its Python is one that torch's wheel for CPUs at hand is for."""


@dataclass(frozen=True)
class Workshop:
    """A storage of images, and what a build on this machine needs to reach packages."""

    folder: Path

    def buildah(self, *arguments: str) -> str:
        """What it prints; its errors are the test's."""
        storage = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        return output("buildah", *storage, "--storage-driver", "vfs", *arguments, TMPDIR=str(self.folder))

    def make_base(self, name: str) -> None:
        """A Debian with Python, and nothing else, as an image."""
        container = self.buildah("from", "scratch")
        packages = "--include=python3,python3-venv,ca-certificates"
        output("debootstrap", "--variant=minbase", packages, SUITE, self.buildah("mount", container), *mirror())
        self.buildah("commit", "--quiet", "--format", "docker", container, name)
        self.buildah("rm", container)

    def build(self, target: str, base: str) -> str:
        """The name of the image of a target of docker/Dockerfile. No step's layer is kept: each would be a copy."""
        name = f"localhost/deep-tree-echo/{target}"
        file = str(ROOT / "docker" / "Dockerfile")
        what = (
            "--file",
            file,
            "--target",
            target,
            "--tag",
            name,
            "--build-arg",
            f"BASE={base}",
            "--build-arg",
            "TORCH=cpu",
        )
        how = ("--format", "docker", "--isolation", "chroot", "--layers=false", "--pull-never", "--quiet")
        self.buildah("bud", *how, *what, *self._packages(), str(ROOT))
        return name

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of itself."""
        config: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    def mounted(self, image: str) -> Path:
        """The files of a new container."""
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", image)))

    def _packages(self) -> list[str]:
        """pip's settings on this machine, as a build's secret, and the folders that they name."""
        told = output(PYTHON, "-m", "pip", "config", "list")
        settings = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", told, re.M))
        secret = self.folder / "pip.conf"
        secret.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items())]) + "\n")
        named = {Path(*Path(path).parts[:3]) for path in re.findall(r"(?:(?<=file://)|(?<=[' ]))/[^\s']+", told)}
        volumes = [f"{path}:{path}:ro" for path in sorted(named) if path.exists()]
        mounts = [option for volume in volumes for option in ("--volume", volume)]
        return ["--secret", f"id=pip.conf,src={secret}", *mounts]


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop in a folder of its own, of which nothing is left."""
    made = Workshop(Path(tempfile.mkdtemp(prefix="workshop-")))
    try:
        yield made
    finally:
        made.buildah("rm", "--all")
        shutil.rmtree(made.folder)


def mirror() -> list[str]:
    """Where this machine's own apt has the suite from; nothing where it has another."""
    if shutil.which("apt-get") is None:
        return []
    told = output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    return [line.split()[0] for line in told.splitlines() if line.endswith(f" {SUITE}")][:1]


def output(*command: str, **env: str) -> str:
    """What a command prints, without its last newline."""
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()
