"""A copy of a checkout, in which mutations are made one after another and tests are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mutations.listing import Mutation, mutated

_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--strict-config --strict-markers")
_SEED = "--hypothesis-seed=0"  # a verdict should be the same the next time
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")
_PASSED, _NO_TESTS = 0, 5  # pytest's exit statuses

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

    def run(self, tests: Sequence[str], limit_s: float, without: Iterable[str] = ()) -> Outcome:
        """Run tests, less some, until the first failure; a run that exceeds the limit has failed. Blocks.

        Raises LookupError when no test is left.
        """
        env = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        left_out = [word for test in without for word in ("--deselect", test)]
        command = [self._python, "-m", "pytest", *_OPTIONS, _SEED, *left_out, *tests]
        began = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as log:  # a pipe would wait for whatever the tests left
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=env | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what the tests started can be ended with them
            )
            try:
                status = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.seek(0)
            output = log.read()
        failed = f"the limit of {limit_s:.0f} s" if status is None else _failed(status, output)
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)  # examples of one mutation are not for the next
        return Outcome(failed, time.monotonic() - began, output[-4000:])

    def _write(self, path: Path, text: str) -> None:
        """Write a source file, and remove its bytecode: Python compares whole seconds and sizes, which may be equal."""
        path.write_text(text)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


def _failed(status: int, output: str) -> str:
    """What failed first, by pytest's exit status and summary; empty for a run that passed. Raises LookupError."""
    if status == _PASSED:
        return ""
    if status == _NO_TESTS:
        raise LookupError("there is no test left to run")
    culprit = _CULPRIT.search(output)
    return culprit[1] if culprit else f"the end of pytest with status {status}"


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
