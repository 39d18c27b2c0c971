# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip.torch` with tensors of a real device beside PyTorch's own functions: `pytest -m gpu`."""

import math

import pytest
import torch
from torchcases import BF16, DTYPES, F32, F64, LISTS, bits, exact_norm, parameters, stock, twice

import fastclip.torch as ours
from fastclip.torch import _cuda, _tensors


def _why_not():
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device here"
    try:
        import cupy
    except Exception as error:  # a broken CuPy is none
        return f"CuPy can't be imported: {error}"
    return "" if cupy.cuda.is_available() and _tensors._exchanged else "CuPy, or this PyTorch, can't be used"


WHY_NOT = _why_not()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


def on_gpu(given):
    for p in given:
        gradient = p.grad
        p.data = p.data.cuda()
        p.grad = gradient.cuda()
    return given


def assert_as_by_torch(given, again):
    """The same bits, of gradients of one dtype, and of f32 and f64 among several.

    Of several, PyTorch multiplies by a tensor of the norm's dtype, which its CUDA kernels may load in each gradient's
    own (its CPU kernels don't): half an eps, and one of both products' roundings. A coefficient that vanishes in f16
    makes products that vanish, too. fastclip rounds one in f64 to f32 as well.
    """
    if len({p.grad.dtype for p in given}) == 1:
        assert bits(given) == bits(again)
        return
    for p, q in zip(given, again, strict=True):
        if q.grad.dtype in (F32, F64):
            assert bits([p]) == bits([q])
            continue
        kind = torch.finfo(q.grad.dtype)
        ours, theirs = p.grad.double(), q.grad.double()
        assert (ours - theirs).abs().le(1.5 * kind.eps * theirs.abs() + kind.smallest_normal * kind.eps).all()


@pytest.fixture(autouse=True)
def served(monkeypatch):
    """Calls of PyTorch's own functions are mistakes here."""
    for name in ("clip_grad_norm_", "clip_grads_with_norm_", "clip_grad_value_", "get_total_norm"):
        monkeypatch.setattr(f"fastclip.torch._stock.{name}", None)
    yield
    assert not _cuda._unusable


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("factor", [0.5, 2.0, 1e-33])
def test_gradients_are_clipped_as_by_torch_with_that_norm(kind, factor):
    torch.manual_seed(1)
    given, again = map(on_gpu, twice(parameters(LISTS[kind])))
    true = exact_norm([p.grad.cpu() for p in given])
    norm = ours.clip_grad_norm_(given, true * factor)
    assert (norm.device, norm.dtype) == (given[0].device, stock._get_total_norm([p.grad for p in again]).dtype)
    assert abs(norm.item() / true - 1) <= 2.0**-23 + float(torch.finfo(norm.dtype).eps)
    stock._clip_grads_with_norm_(again, true * factor, norm)
    assert_as_by_torch(given, again)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_norm_that_is_known(dtype):
    given, again = map(on_gpu, twice(parameters((F32, BF16))))
    total = torch.tensor(17.3, dtype=dtype, device="cuda")
    ours.clip_grads_with_norm_(given, 0.7, total)
    stock._clip_grads_with_norm_(again, 0.7, total)
    assert_as_by_torch(given, again)


def test_values():
    given, again = map(on_gpu, twice(parameters(DTYPES)))
    ours.clip_grad_value_(given, 0.37)
    stock.clip_grad_value_(again, 0.37)
    assert bits(given) == bits(again)


def test_on_a_stream_of_torchs():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        gradient = torch.zeros(10_000_000, device="cuda")
        for i in range(20):  # each is written just before it is read
            gradient.fill_(i + 1.0)
            norm = ours.get_total_norm([gradient])
        assert norm.item() == pytest.approx(20 * math.sqrt(1e7), rel=2.0**-22)


def test_an_error_waits_and_writes_nothing():
    p = torch.nn.Parameter(torch.zeros(3, device="cuda"))
    p.grad = torch.tensor([1.0, math.nan, 2.0], device="cuda")
    with pytest.raises(RuntimeError, match="is non-finite"):
        ours.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad[2].item() == 2.0


@pytest.mark.parametrize("fused", [True, False])
def test_in_an_optimizers_step(fused):
    torch.manual_seed(2)
    given, again = map(on_gpu, twice(parameters((F32,))))
    a, b = (torch.optim.AdamW(ps, lr=0.1, fused=fused) for ps in (given, again))
    clipping = ours.clip_in_step(a, 0.5)
    a.step()
    stock._clip_grads_with_norm_(again, 0.5, clipping.total_norm)
    b.step()
    for p, q in zip(given, again, strict=True):
        torch.testing.assert_close(p, q)
