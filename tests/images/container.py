"""A container of a built image, as strict as any: a read-only root, a process namespace and no user but the image's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from processes import until

ENTER = """
set -e
root=$1 volume=$2 user=$3 folder=$4; shift 4
mount --bind "$root" "$root"
mount --bind "$volume" "$root/var/lib/echo"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
mount -o remount,bind,ro "$root"
exec /usr/sbin/chroot --userspec="$user" "$root" /usr/bin/env -i -C "$folder" "$@"
"""
"""In sight are the image, its volume and shared memory. The mounts end with the process."""


@dataclass
class Container:
    """An image's files and words, and the process that runs in it."""

    root: Path
    config: Mapping[str, Any]
    env: Mapping[str, str]
    volume: Path
    log: Path
    outside: subprocess.Popen[bytes] | None = None  # the parent of process 1, which ends as that does

    @contextmanager
    def run(self, *command: str) -> Iterator[Container]:
        """Run a command, or else the image's own, as process 1, until the block ends."""
        user, _, group = self.config["User"].partition(":")
        self.volume.mkdir()
        os.chown(self.volume, int(user), int(group))
        place = (str(self.root), str(self.volume), self.config["User"], self.config["WorkingDir"])
        enter = ("unshare", "--mount", "--pid", "--fork", "bash", "-c", ENTER, "enter", *place)
        line = [*enter, *self._variables(), *(command or self.config["Cmd"])]
        with self.log.open("ab") as log:
            self.outside = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        parent = psutil.Process(self.outside.pid)
        try:
            until(lambda: parent.children() or parent.status() == psutil.STATUS_ZOMBIE, "process 1 is there")
            yield self
        finally:
            for process in parent.children() if self.outside.poll() is None else ():
                process.kill()  # with process 1 all of its namespace ends
            self.outside.wait()

    def stop(self) -> int:
        """Send the signal that the image asks for; the status with which the process ends."""
        self._inside().send_signal(signal.Signals[self.config["StopSignal"]])
        return self.ended()

    def ended(self, within_s: float = 30) -> int:
        """The status with which it ends by itself."""
        assert self.outside
        return self.outside.wait(within_s)

    def user_id(self) -> int:
        """As whom it runs."""
        return self._inside().uids().real

    def inspect(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, as the same user."""
        user, _, group = self.config["User"].partition(":")
        enter = ("nsenter", "--target", str(self._inside().pid), "--mount", "--pid", "--root", "--wd")
        who = ("--setuid", user, "--setgid", group, "/usr/bin/env", "-i", *self._variables())
        return subprocess.run([*enter, *who, *command], capture_output=True, text=True)

    def is_healthy(self) -> bool:
        """What the image's health check says."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.inspect(*command).returncode == 0

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def _inside(self) -> psutil.Process:
        assert self.outside
        assert self.outside.poll() is None, self.text()
        (process,) = psutil.Process(self.outside.pid).children()
        return process

    def _variables(self) -> list[str]:
        return [*self.config["Env"], *(f"{name}={value}" for name, value in self.env.items())]
