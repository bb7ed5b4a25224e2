"""Products on packed weights, by our own kernel and by torch's, against torch in double precision."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from workers.fused import products as products_module
from workers.fused.products import Product, Products, is_own, room_for

ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2**-8}
"""What an output may lose by its number format, in parts of itself."""

SUMMING = 1e-6
"""What it may lose by being summed up in fp32, in parts of the sum of its terms' magnitudes.

The output itself is no measure of that: it may be next to nothing where terms of both signs cancel.
"""

MAX_ROWS = 70


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["own", "own, 3 threads", "torch"])
def make(request: pytest.FixtureRequest, dtype: torch.dtype) -> Callable[[Sequence[Product]], Products]:
    """Both implementations, whatever would be chosen here."""
    own = request.param != "torch"
    if own and not is_own(dtype):
        pytest.skip(f"the own kernel wants AVX-512, and for bf16 AVX512-BF16 without AMX ({dtype})")
    made = products_module._Packed if own else products_module._Torch
    return lambda parts: made(parts, 3 if "threads" in request.param else 1)


@pytest.fixture
def random() -> Callable[..., Tensor]:
    """Makes the same random numbers in every run."""
    chance = torch.Generator().manual_seed(5)
    return lambda rows, columns, dtype: torch.randn(rows, columns, generator=chance).to(dtype)


def bounds(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the most that x times the weight may be, by what its number format and summing up may lose."""
    exact, magnitudes = x.double() @ weight.double().t(), x.double().abs() @ weight.double().abs().t()
    off = ROUNDING[x.dtype] * exact.abs() + SUMMING * magnitudes
    return exact - off, exact + off


@pytest.mark.parametrize("outputs", [1, 63, 64, 65, 300])
@pytest.mark.parametrize("inputs", [2, 32, 770])
def test_a_product_is_torchs(
    make: Callable[[Sequence[Product]], Products],
    random: Callable[..., Tensor],
    dtype: torch.dtype,
    inputs: int,
    outputs: int,
) -> None:
    """For any number of rows, of which the later ones stay as they were."""
    weight, out = random(outputs, inputs, dtype), room_for(MAX_ROWS, outputs, dtype)
    x = random(MAX_ROWS, inputs, dtype)
    product = make([Product(x, weight, out)])
    least, most = bounds(x, weight)
    for rows in (1, 2, 3, 4, 5, 6, 7, 13, MAX_ROWS):
        out.fill_(7)
        product(rows)
        found = out[:rows, :outputs]
        assert bool(((least[:rows] <= found) & (found <= most[:rows])).all())
        assert bool((out[rows:] == 7).all())


def test_several_products_are_one_pass(
    make: Callable[[Sequence[Product]], Products], random: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """Of different sizes, from columns of one table, into columns of another."""
    x, out = random(MAX_ROWS, 256, dtype), room_for(MAX_ROWS, 320, dtype)
    parts = [
        Product(x[:, :64], random(64, 64, dtype), out[:, :64]),
        Product(x[:, 64:96], random(190, 32, dtype), out[:, 64:]),
        Product(x, random(20, 256, dtype), out[:, 256:]),
    ]
    make(parts)(MAX_ROWS)
    for part in parts:
        found, (least, most) = part.out[:, : len(part.weight)], bounds(part.x, part.weight)
        assert bool(((least <= found) & (found <= most)).all())


def test_nan_stays_in_its_row(
    make: Callable[[Sequence[Product]], Products], random: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """A row of NaN leaves its neighbours in the tile as they are."""
    x, out = random(6, 64, dtype), room_for(6, 64, dtype)
    x[2] = float("nan")
    make([Product(x, random(64, 64, dtype), out)])(6)
    finite = out.isfinite().all(1).tolist()
    assert finite == [True, True, False, True, True, True]


IN_TRITON = """
import torch
from workers.batch import Batch, Segment
from workers.plain import Fed, in_torch
from workers.wkv_triton import in_triton

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
batch = Batch((Segment(2, (1,)), Segment(0, tuple(range(20))), Segment(4, (1, 2, 3))))
r, k, v, key, rate, decay = (torch.randn(24, 2, 64, device=device) for _ in range(6))
key = torch.nn.functional.normalize(key, dim=-1)
parts = [r, decay.sigmoid() * 0.4 + 0.55, k, v, -key, key * rate.sigmoid()]
states = torch.randn(5, 2, 64, 64, device=device)
ours = states.clone()
fed = Fed(batch, states.device)
said, expected = in_triton(ours, fed, parts), in_torch(states, fed, parts)
assert (said - expected).abs().max() <= 1e-5 * expected.abs().max()
assert (ours - states).abs().max() <= 1e-5 * states.abs().max()
"""


def test_tritons_recurrence_is_torchs() -> None:
    """On a GPU where there is one, else in Triton's interpreter; states of slots that are not fed stay as they were."""
    pytest.importorskip("triton", reason="Triton comes with torch for CUDA, and with the extra `test` on Linux")
    env = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
    done = subprocess.run([sys.executable, "-c", IN_TRITON], env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
