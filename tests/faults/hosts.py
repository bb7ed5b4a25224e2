"""Hosts as network namespaces on one machine: real processes with addresses of their own, whose cables can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import PYTHON, Running, Site

needed = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
)


@dataclass(frozen=True)
class Cable:
    """One host's end of a network: the switch, what is plugged in there, and the host's address."""

    switch: str
    plug: str
    address: str

    def cut(self) -> None:
        """Lose every frame, both ways and without a word: no side sees a link go down."""
        _ip("link", "set", self.plug, "nomaster")

    def mend(self) -> None:
        """Have frames go through again."""
        _ip("link", "set", self.plug, "master", self.switch)


@dataclass(frozen=True)
class Host:
    """A network namespace, with a cable to each of its networks."""

    name: str
    cables: Mapping[str, Cable]

    def site(self, folder: Path, env: Mapping[str, str], broker_url: str) -> HostSite:
        """A site whose processes run there."""
        return HostSite(folder, dict(env), host=self.name, broker=broker_url)


@dataclass
class HostSite(Site):
    """A site on one host; `broker` is the broker's URL as the test sees it."""

    host: str = ""
    broker: str = ""

    @property
    def broker_url(self) -> str:
        return self.broker

    @property
    def api(self) -> str:
        return f"http://{self.env['API_HOST']}:{self.env['API_PORT']}"

    @contextmanager
    def run(self, name: str, *command: str, **options: Any) -> Iterator[Running]:
        """Run a command on the host; `ip netns exec` becomes it, so that signals reach it."""
        with super().run(name, "ip", "netns", "exec", self.host, *command, **options) as running:
            yield running

    def forked(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None
    ) -> AbstractContextManager[Running]:
        """A worker that is forked would be on the tests' own host."""
        return self.run(name, PYTHON, "-m", *command, env=env)


@contextmanager
def hosts(plan: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Host]]:
    """Hosts by their names, each in the networks that the plan says; in the end nothing of them is left.

    The test's own machine is in every network, at its first address, as their switch.
    """
    tag = f"e{os.getpid() % 10_000}"
    networks = list(dict.fromkeys(name for names in plan.values() for name in names))
    with ExitStack() as undo:
        for number, network in enumerate(networks):
            _ip("link", "add", _switch(tag, network), "type", "bridge")
            undo.callback(_ip, "link", "del", _switch(tag, network))
            _ip("addr", "add", f"{_prefix(number)}.1/24", "dev", _switch(tag, network))
            _ip("link", "set", _switch(tag, network), "up")
        made = {}
        for place, (name, its) in enumerate(plan.items(), start=2):
            _ip("netns", "add", f"{tag}-{name}")
            undo.callback(_ip, "netns", "del", f"{tag}-{name}")
            _inside(f"{tag}-{name}", "link", "set", "lo", "up")
            cables = {
                network: _plugged_in(f"{tag}-{name}", f"{tag}{network[:1]}{place}", _switch(tag, network), address)
                for network in its
                for address in [f"{_prefix(networks.index(network))}.{place}"]
            }
            made[name] = Host(f"{tag}-{name}", cables)
        yield made


def _plugged_in(namespace: str, plug: str, switch: str, address: str) -> Cable:
    _ip("link", "add", plug, "type", "veth", "peer", "name", f"to{switch}", "netns", namespace)
    _inside(namespace, "addr", "add", f"{address}/24", "dev", f"to{switch}")
    _inside(namespace, "link", "set", f"to{switch}", "up")
    _ip("link", "set", plug, "master", switch, "up")
    return Cable(switch, plug, address)


def _switch(tag: str, network: str) -> str:
    return f"{tag}{network}"  # an interface's name has 15 characters at most


def _prefix(number: int) -> str:
    """Of a private network of this process's own, by its number."""
    return f"10.{100 + os.getpid() % 100}.{number}"


def _inside(namespace: str, *words: str) -> None:
    _ip("-n", namespace, *words)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
