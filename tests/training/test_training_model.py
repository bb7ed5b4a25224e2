"""The trainable model is the served one: same names, same logits, and documents in a row that know no other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from feeding import fed
from torch import Tensor

from training import wkv as kernel
from training.model import RWKV7, Size
from workers import checkpoint, rwkv7
from workers.recurrence import chunked

SIZE = Size(layers=3, width=128, vocabulary=50, low_rank=16)


@pytest.fixture
def model() -> RWKV7:
    """A model whose every parameter matters: those that start at zero are moved."""
    torch.manual_seed(3)
    model = RWKV7(SIZE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def rows(length: int, starts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """One row of tokens, with documents that begin at `starts`."""
    fresh = torch.zeros(1, length, dtype=torch.bool)
    fresh[0, list(starts)] = True
    return torch.randint(SIZE.vocabulary, (1, length), generator=torch.Generator().manual_seed(5)), fresh


def test_its_state_dict_is_a_checkpoint_that_is_served_alike(model: RWKV7, tmp_path: Path) -> None:
    """Saved, loaded as an official checkpoint and run by the engine's forward, it gives the same logits."""
    torch.save(model.state_dict(), tmp_path / "model.pth")
    served = rwkv7.RWKV7(checkpoint.load(tmp_path / "model.pth"), torch.float32)
    tokens, fresh = rows(20, (0,))
    with torch.no_grad():
        expected = model(tokens, fresh)[0]
    slot = served.slots.take()
    for position, token in enumerate(tokens[0].tolist()):
        torch.testing.assert_close(fed(served, slot, [token]), expected[position], rtol=1e-4, atol=1e-4)


def test_documents_in_a_row_know_nothing_of_each_other(model: RWKV7) -> None:
    """A document's logits are the same behind another one as alone."""
    tokens, fresh = rows(30, (0, 13))
    with torch.no_grad():
        together = model(tokens, fresh)[:, 13:]
        alone = model(tokens[:, 13:], fresh[:, 13:])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(model(tokens, rows(30, (0,))[1])[:, 13:], alone, atol=1e-3)


def recurrence(length: int, dtype: torch.dtype) -> list[Tensor]:
    """Random inputs of the sizes that a model makes: r, decay, k, v, a, b."""
    random = torch.Generator().manual_seed(length)

    def normal() -> Tensor:
        return torch.randn((2, length, 3, 64), generator=random, dtype=torch.float64)

    kk, rate = torch.nn.functional.normalize(normal(), dim=-1), torch.sigmoid(normal())
    inputs = [normal(), torch.exp(-0.6 * torch.sigmoid(normal())), 0.3 * normal(), normal(), -kk, kk * rate]
    return [x.to(dtype).requires_grad_() for x in inputs]


def token_by_token(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The recurrence as it is written down."""
    batch, length, heads, size = r.shape
    state = r.new_zeros(batch, heads, size, size)
    out = []
    for t in range(length):
        removed = state @ a[:, t].unsqueeze(-1)
        state = state * w[:, t].unsqueeze(-2) + removed @ b[:, t].unsqueeze(-2)
        state = state + v[:, t].unsqueeze(-1) @ k[:, t].unsqueeze(-2)
        out.append((state @ r[:, t].unsqueeze(-1)).squeeze(-1))
    return torch.stack(out, 1)


def in_chunks(*inputs: Tensor) -> Tensor:
    """The form that needs no compiler, from an empty state."""
    batch, _, heads, size = inputs[0].shape
    return chunked(*inputs, inputs[0].new_zeros(batch, heads, size, size))[0]


FORMS = [
    pytest.param(kernel.wkv, marks=pytest.mark.skipif(not kernel.has_kernel(), reason="no C compiler"), id="kernel"),
    pytest.param(in_chunks, id="chunked"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, 15, 16, 17, 50])
def test_both_forms_are_the_recurrence(form: Callable[..., Tensor], length: int) -> None:
    """Values and all six gradients are those of the loop in float64, to fp32's precision."""
    fused, exact = recurrence(length, torch.float32), recurrence(length, torch.float64)
    y, y_exact = form(*fused), token_by_token(*exact)
    torch.testing.assert_close(y.double(), y_exact, rtol=1e-4, atol=1e-5)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weight).sum().backward()
    (y_exact * weight.double()).sum().backward()
    for name, ours, theirs in zip("rwkvab", fused, exact, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        error = (ours.grad.double() - theirs.grad).abs().max() / theirs.grad.abs().max().clamp_min(1)
        assert error < 2e-6, (name, float(error))


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_forget_where_a_document_begins(form: Callable[..., Tensor]) -> None:
    """What stands behind tokens without decay and removal is as if nothing had been before, many times a chunk."""
    r, w, k, v, a, b = (x.detach() for x in recurrence(40, torch.float32))
    for start in (3, 5, 20, 32):
        w[:, start], a[:, start] = 0, 0
    y = form(r, w, k, v, a, b)
    for start, end in ((0, 3), (3, 5), (5, 20), (20, 32), (32, 40)):
        alone = form(*(x[:, start:end] for x in (r, w, k, v, a, b)))
        torch.testing.assert_close(y[:, start:end], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("split", [1, 15, 16, 33])
def test_a_state_goes_on_where_it_was_left(split: int) -> None:
    """A row in two parts, the state of the first handed to the second, is the row in one."""
    inputs = [x.detach() for x in recurrence(50, torch.float32)]
    state = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(2))
    whole, last = chunked(*inputs, state)  # type: ignore[arg-type]
    first, between = chunked(*(x[:, :split] for x in inputs), state)  # type: ignore[arg-type]
    second, end = chunked(*(x[:, split:] for x in inputs), between)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(end, last, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not kernel.has_kernel(), reason="there is no C compiler")
def test_the_kernel_leaves_the_processs_arithmetic_alone() -> None:
    """Loaded and used, it does not make subnormal numbers zero for everyone else."""
    kernel.wkv(*recurrence(4, torch.float32))
    assert sys.float_info.min / 2 > 0


@pytest.mark.skipif(not kernel.has_kernel(), reason="there is no C compiler")
def test_the_kernel_is_a_well_formed_operator() -> None:
    """torch's own checks of a custom operator hold: schema, fake shapes, autograd, tracing."""
    torch.library.opcheck(kernel._fused, [x.detach().requires_grad_() for x in recurrence(20, torch.float32)])
