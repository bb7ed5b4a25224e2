"""Which model files load, and what is said of those that do not."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import untrained
from echo_tasks.errors import CheckpointError
from workers.checkpoint import Shape, load

Weights = dict[str, Tensor]


@pytest.fixture
def weights() -> Weights:
    """A whole model of 2 layers, 128 wide, for 16 tokens."""
    return untrained.weights(layers=2, width=128, vocabulary=16)


@pytest.fixture
def good(tmp_path: Path, weights: Weights) -> Path:
    """The whole model's file."""
    return saved(tmp_path, weights)


def saved(folder: Path, content: object, name: str = "model.pth", *, as_zip: bool = True) -> Path:
    path = folder / name
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    return path


def with_pickle(good: Path, data: bytes) -> Path:
    """A copy of a good file, with another pickle in the place of its own."""
    path = good.with_name("replaced.pth")
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, data if name.endswith("/data.pkl") else source.read(name))
    return path


def refusal(path: Path) -> str:
    """Why the file is refused: one line, with the file's path in the error."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert len(caught.value.reason.splitlines()) == 1
    return caught.value.reason


class RunsCode:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def test_a_good_file_loads(good: Path, weights: Weights) -> None:
    """The shape is read from the tensors, and the tensors are those that were saved."""
    loaded = load(good)
    assert loaded.path == good
    assert loaded.shape == Shape(layers=2, width=128, vocabulary=16)
    assert loaded.shape.heads == 2
    assert loaded.tensors.keys() == weights.keys()
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in weights.items())


def test_a_model_of_one_head_and_layer_loads(tmp_path: Path) -> None:
    """The smallest model loads: its matrices of one row are no vectors."""
    path = saved(tmp_path, untrained.weights(layers=1, width=64, vocabulary=8))
    assert load(path).shape == Shape(layers=1, width=64, vocabulary=8)


def test_layer_0_needs_no_v_mix(tmp_path: Path, weights: Weights) -> None:
    """The first layer's own values are the first values; some files leave out the tensors that would mix them."""
    for name in ("v0", "v1", "v2"):
        del weights[f"blocks.0.att.{name}"]
    assert load(saved(tmp_path, weights)).shape.layers == 2


def test_a_file_of_the_older_format_loads(tmp_path: Path, weights: Weights, good: Path) -> None:
    """A torch file that is no zip holds the same weights."""
    assert load(saved(tmp_path, weights, "older.pth", as_zip=False)).digest == load(good).digest


def test_the_digest_is_of_the_weights(tmp_path: Path, weights: Weights, good: Path) -> None:
    """The same weights under another file name and in another order have the same digest."""
    again = saved(tmp_path, dict(reversed(weights.items())), "another.pth")
    assert load(again).digest == load(good).digest


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights["emb.weight"][15, 127].add_(1),
        lambda weights: weights["blocks.1.ffn.value.weight"].mul_(-1),
        lambda weights: weights.update({"ln_out.bias": weights["ln_out.bias"].float()}),
        lambda weights: weights.update(
            {"ln_out.bias": weights["ln_out.weight"], "ln_out.weight": weights["ln_out.bias"]}
        ),
    ],
    ids=["one value", "one tensor", "number format", "swapped tensors"],
)
def test_other_weights_have_another_digest(
    tmp_path: Path, weights: Weights, good: Path, change: Callable[[Weights], object]
) -> None:
    """Any change to the values, their number format or their places changes the digest."""
    change(weights)
    assert load(saved(tmp_path, weights, "changed.pth")).digest != load(good).digest


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path where there is no file is told from a damaged one."""
    assert refusal(tmp_path / "none.pth") == "no such file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no file."""
    assert refusal(tmp_path) == "no such file"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(1000),
        b"These are no weights.\n" * 100,
        b'{"emb.weight": [1, 2, 3]}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 382061056\n",
        bytes(range(256)) * 64,
        torch.randint(256, (4096,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).numpy().tobytes(),
    ],
    ids=["empty", "one byte", "zip's mark", "zeros", "text", "json", "git-lfs pointer", "all bytes", "random"],
)
def test_bytes_that_are_no_checkpoint_are_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, text and random files are damaged or no checkpoints."""
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("kept", [0.0001, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(good: Path, kept: float) -> None:
    """A download that broke off, wherever it did, is damaged."""
    data = good.read_bytes()
    good.write_bytes(data[: int(kept * len(data))])
    assert "damaged" in refusal(good)


@pytest.mark.parametrize("lost", [1, 22, 1000])
def test_a_file_without_its_last_bytes_is_refused(good: Path, lost: int) -> None:
    """One byte that is missing at the end is enough."""
    data = good.read_bytes()
    good.write_bytes(data[:-lost])
    assert "damaged" in refusal(good)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_of_the_older_format_is_refused(tmp_path: Path, weights: Weights, kept: float) -> None:
    """An older file that broke off is damaged too."""
    path = saved(tmp_path, weights, as_zip=False)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert "damaged" in refusal(path)


def test_another_generation_of_rwkv_is_named(tmp_path: Path, weights: Weights) -> None:
    """An RWKV-6 checkpoint is told apart from a broken one."""
    weights["blocks.0.att.time_maa_x"] = torch.zeros(1, 1, 128)
    assert "RWKV-4, 5 or 6" in refusal(saved(tmp_path, weights))


@pytest.mark.parametrize("name", ["blocks.0.ffn.s_emb.weight", "blocks.0.qkv.weight"])
def test_another_kind_of_rwkv_7_is_named(tmp_path: Path, weights: Weights, name: str) -> None:
    """DeepEmbed and DEA models have tensors that this forward pass would ignore."""
    weights[name] = torch.zeros(16, 128)
    assert "7a or 7b" in refusal(saved(tmp_path, weights))


@pytest.mark.parametrize(
    "content",
    [{}, [torch.zeros(2)], torch.zeros(2), None, 5],
    ids=["empty", "list", "tensor", "none", "number"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: object) -> None:
    """A torch file of something else than a table is no checkpoint."""
    assert "no table of tensors" in refusal(saved(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [{"emb.weight": [1.0]}, {"model": {"emb.weight": torch.zeros(2)}}, {5: torch.zeros(2)}, {"step": 5}],
    ids=["list", "nested", "numbered", "number"],
)
def test_what_is_no_named_tensor_is_refused(tmp_path: Path, content: object) -> None:
    """A training state, or a table of something else than tensors, is no checkpoint."""
    assert "is not a named tensor" in refusal(saved(tmp_path, content))


def test_another_models_tensors_are_refused(tmp_path: Path) -> None:
    """A table of tensors that is of no RWKV at all is refused for what it lacks."""
    assert "not an RWKV-7" in refusal(saved(tmp_path, {"transformer.wte.weight": torch.zeros(16, 128)}))


@pytest.mark.parametrize(
    "name",
    [
        "emb.weight",
        "head.weight",
        "ln_out.bias",
        "blocks.0.ln0.weight",
        "blocks.0.att.r_k",
        "blocks.0.att.w1",
        "blocks.1.att.x_g",
        "blocks.1.att.v0",
        "blocks.1.att.v2",
        "blocks.1.ffn.key.weight",
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, weights: Weights, name: str) -> None:
    """A checkpoint that lacks a tensor is refused by that tensor's name."""
    del weights[name]
    assert name in refusal(saved(tmp_path, weights))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("head.weight", (15, 128)),
        ("blocks.0.att.key.weight", (128, 64)),
        ("blocks.1.att.x_r", (1, 1, 64)),
        ("blocks.1.att.w2", (16, 128)),
        ("blocks.1.att.r_k", (64, 2)),
        ("blocks.1.ffn.value.weight", (512, 128)),
        ("ln_out.weight", (1,)),
    ],
)
def test_a_wrong_shape_is_named(tmp_path: Path, weights: Weights, name: str, shape: tuple[int, ...]) -> None:
    """A tensor of another shape is refused by its name, with both shapes."""
    weights[name] = torch.zeros(shape)
    reason = refusal(saved(tmp_path, weights))
    assert reason.startswith(f"{name} has shape {shape}")


@pytest.mark.parametrize(("name", "shape"), [("emb.weight", (128,)), ("blocks.0.att.r_k", (128,))])
def test_tensors_that_tell_the_shape_must_be_matrices(
    tmp_path: Path, weights: Weights, name: str, shape: tuple[int, ...]
) -> None:
    """The two tensors from which the model's shape is read are refused when they are vectors."""
    weights[name] = torch.zeros(shape)
    assert "must be matrices" in refusal(saved(tmp_path, weights))


@pytest.mark.parametrize("heads", [1, 4])
def test_another_head_size_is_refused(tmp_path: Path, weights: Weights, heads: int) -> None:
    """Only models with heads of 64 are served."""
    weights["blocks.0.att.r_k"] = torch.zeros(heads, 128 // heads)
    assert f"head size {128 // heads}" in refusal(saved(tmp_path, weights))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_whole_numbers_are_refused(tmp_path: Path, weights: Weights, dtype: torch.dtype) -> None:
    """A quantised tensor is refused by its name and number format."""
    weights["head.weight"] = torch.zeros(16, 128, dtype=dtype)
    assert refusal(saved(tmp_path, weights)).startswith(f"'head.weight' has number format {dtype}")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    """A bare pickle's code does not run."""
    marker, path = tmp_path / "ran", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps({"emb.weight": RunsCode(marker)}, protocol=2))
    assert refusal(path).startswith("refused")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the test's own: shows that the code is live
    assert marker.exists()


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_torch_file_that_runs_code_is_refused(tmp_path: Path, weights: Weights, as_zip: bool) -> None:
    """Code beside the tensors of a torch file does not run, in either format."""
    marker = tmp_path / "ran"
    path = saved(tmp_path, weights | {"zzz": RunsCode(marker)}, as_zip=as_zip)
    assert refusal(path).startswith("refused")
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the test's own: shows that the code is live
    assert marker.exists()


def test_a_torch_zip_whose_pickle_was_replaced_is_refused(tmp_path: Path, good: Path) -> None:
    """Code that takes the place of a good file's pickle does not run."""
    marker = tmp_path / "ran"
    path = with_pickle(good, pickle.dumps(RunsCode(marker), protocol=2))
    assert refusal(path).startswith("refused")
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the test's own: shows that the code is live
    assert marker.exists()


DAMAGED_PICKLES = {
    "cut in its mark": b"\x80",
    "empty stack": b"\x80\x02.",
    "cut in a number": b"\x80\x02J\x01",
    "tensor of nothing": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R.",
}


@pytest.mark.parametrize("data", DAMAGED_PICKLES.values(), ids=DAMAGED_PICKLES)
def test_a_damaged_pickle_is_refused(good: Path, data: bytes) -> None:
    """A damaged pickle in a torch zip is told in a line, as all other damage is."""
    assert "damaged" in refusal(with_pickle(good, data))


@pytest.mark.parametrize("kept", [1, 18, 22])
def test_an_older_file_that_is_cut_near_its_start_is_refused(tmp_path: Path, weights: Weights, kept: int) -> None:
    """An older file that broke off near its start is told in a line, as all other damage is."""
    path = saved(tmp_path, weights, as_zip=False)
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged" in refusal(path)
