"""A copy of a checkout, in which mutations are made one after another and tests are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mutations.listing import Mutation, mutated

_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--strict-config --strict-markers")
_SEED = "--hypothesis-seed=0"  # a verdict should be the same the next time
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2  # pytest's exit statuses

_CULPRIT = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of tests came to: what failed first, empty when all passed, and the end of what was printed."""

    failed: str
    seconds: float
    output: str = ""


class Tree:
    """A checkout's files in a folder of their own. For one thread."""

    def __init__(self, checkout: Path, folder: Path, python: str) -> None:
        self.root = folder
        self._python = python
        _copy(checkout, folder)

    @contextmanager
    def with_mutation(self, mutation: Mutation) -> Iterator[None]:
        """Have one line of the copy changed until the block ends. Raises LookupError where the line is another."""
        path = self.root / mutation.file
        if not path.is_file():
            raise LookupError(f"there is no {mutation.file}")
        text = path.read_text()
        self._write(path, mutated(text, mutation))
        try:
            yield
        finally:
            self._write(path, text)

    def run(self, tests: Sequence[str], limit_s: float) -> Outcome:
        """Run tests until the first failure; a run that exceeds the limit has failed. Blocks."""
        env = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        command = [self._python, "-m", "pytest", *_OPTIONS, _SEED, *tests]
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=env | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that what the tests started can be ended with them
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            output, failed = "", f"timeout after {limit_s:.0f} s"
        else:
            failed = _failed(process.returncode, output)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)  # examples of one mutation are not for the next
        return Outcome(failed, time.monotonic() - began, output[-4000:])

    def _write(self, path: Path, text: str) -> None:
        """Write a source file, and remove its bytecode: Python compares whole seconds and sizes, which may be equal."""
        path.write_text(text)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


def _failed(status: int, output: str) -> str:
    """What failed first, by pytest's exit status and summary; empty for a run that passed."""
    if status == _PASSED:
        return ""
    culprit = _CULPRIT.search(output)
    if culprit and status in (_FAILED, _INTERRUPTED):
        return culprit[1]
    return f"pytest's exit status {status}"


def _copy(checkout: Path, folder: Path) -> None:
    """Copy what git tracks, and what it would: neither environments nor caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if not os.path.lexists(checkout / name):
            continue  # deleted, and not committed
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(checkout / name, target, follow_symlinks=False)
