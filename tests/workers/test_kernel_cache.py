"""Where compiled kernels are kept: where it is allowed, and in folders that tell the sources apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from workers.fused import kernels, native


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of nothing, and a package whose own folder takes no files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(native, "_HERE", Path("/proc/self/fused"))
    native.compiled.cache_clear()
    native._sources.cache_clear()
    yield tmp_path
    native.compiled.cache_clear()
    native._sources.cache_clear()


def test_a_package_that_takes_no_files_has_its_kernels_in_the_home(home: Path) -> None:
    """In our folder there, and not in numba's, which takes those of other sources for these."""
    native.compiled(kernels.square, torch.float32)
    assert [*home.glob(".cache/deep-tree-echo/kernels-*/*/*.nbi")]
    assert [path.name for path in (home / ".cache").iterdir()] == ["deep-tree-echo"]


def test_without_any_such_folder_a_kernel_is_compiled_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a second at each start."""
    monkeypatch.setenv("HOME", "/proc/self/home")
    assert native.compiled(kernels.square, torch.float32).address
    assert not [*home.iterdir()]
