"""The operating system's limits, where the ordinary ones are too small for a server."""

from __future__ import annotations

import resource


def raise_open_files() -> None:
    """Raise this process's limit of open files as far as it may: each stream and connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
