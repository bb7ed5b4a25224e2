"""The guard of a farm's supervisor: keeps what that one could not do without, and starts another when it is killed.

`python -m echo_tasks.local.guard FD`. It holds the descriptors that outlive a supervisor (its children's output, the
API's listening socket), each with a word about it. The supervisor starts another guard when this one is killed, and
gives it all again: so either of the two may die, and nothing that they run notices. Imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
"""Before another supervisor is started: doubled as long as each one dies within the longest pause."""

MOST_BYTES, MOST_FDS = 65536, 8

Kept = dict[str, tuple[str, list[int]]]
"""By name: what is to be known of it, and its descriptors."""


def serve(link: socket.socket, kept: Kept) -> bool:
    """Do as the supervisor says until it is gone; whether it has ended of its own will."""
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(link, MOST_BYTES, MOST_FDS)
        except OSError:
            return False
        if not data:
            return False
        message = json.loads(data)
        if message.get("end"):
            return True
        _forget(kept, message["name"])
        if "word" in message:
            kept[message["name"]] = message["word"], list(descriptors)
        with suppress(OSError):
            link.send(b"1")


def hand_over(link: socket.socket, kept: Kept) -> None:
    """Tell a new supervisor, or a new guard, of all that is kept. Raises OSError."""
    for name, (word, descriptors) in kept.items():
        send(link, {"name": name, "word": word}, descriptors)
    send(link, {"name": ""}, [])


def send(link: socket.socket, message: Mapping[str, object], descriptors: list[int]) -> None:
    """Send a message and wait until it was taken, so that no two come as one. Raises OSError."""
    socket.send_fds(link, [json.dumps(message).encode()], descriptors)
    if not link.recv(1):
        raise ConnectionResetError("the other side is gone")


def receive(link: socket.socket) -> Kept:
    """What a guard hands over. Raises OSError."""
    kept: Kept = {}
    while True:
        data, descriptors, _, _ = socket.recv_fds(link, MOST_BYTES, MOST_FDS)
        if not data:
            raise ConnectionResetError("the other side is gone")
        link.send(b"1")
        message = json.loads(data)
        if not message["name"]:
            return kept
        kept[message["name"]] = message["word"], list(descriptors)


def _forget(kept: Kept, name: str) -> None:
    for descriptor in kept.pop(name, ("", []))[1]:
        os.close(descriptor)


def main(link: socket.socket) -> None:
    """Guard one supervisor after the other, until one has ended of its own will."""
    kept: Kept = {}
    pause_s = FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        if serve(link, kept):
            return
        link.close()
        pause_s = FIRST_PAUSE_S if time.monotonic() - began > LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)
        time.sleep(pause_s)
        link, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, "-m", "echo_tasks.local.supervisor", "guard", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        with suppress(OSError):  # it died at once: the next turn sees that, too
            hand_over(link, kept)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
