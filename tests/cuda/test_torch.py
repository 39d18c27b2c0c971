# SPDX-License-Identifier: BSD-3-Clause
"""The way of torch's CUDA tensors, with CPU tensors on it: only DLPack's number of the device is another."""

import math
import sys

import numpy as np
import pytest
import torch
import torch._dynamo  # optimizers import it, and it what looks at CuPy: before that is a fake
from torchcases import BF16, DTYPES, F16, F32, F64, LISTS, bits, exact_norm, parameter, parameters, stock, twice

import fastclip
import fastclip.torch as ours
from fastclip.torch import _cuda, _tensors

pytestmark = pytest.mark.skipif(not _tensors._exchanged, reason="this PyTorch has no exchange API for DLPack")


@pytest.fixture
def gpu(cp, monkeypatch):
    """The fake CuPy, and a device type that is the CPU's."""
    monkeypatch.setattr(_cuda, "DEVICE_TYPE", 1)
    monkeypatch.setattr(_cuda, "serves", bool)
    monkeypatch.setattr(_cuda, "_capturing", lambda: False)
    return cp


def launched(cp):
    return [name for name, *_ in cp.cuda.launches]


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("factor", [0.5, 2.0, -0.5, 1e-33, 0.0, math.inf, math.nan])
def test_gradients_are_clipped_as_by_torch_with_that_norm(gpu, kind, factor):
    torch.manual_seed(1)
    given, again = twice(parameters(LISTS[kind]))
    true = exact_norm([p.grad for p in given])
    norm = ours.clip_grad_norm_(given, true * factor)
    assert launched(gpu) == ["norm_list", "scale"]
    assert gpu.cuda.synchronizations == 0
    assert norm.dtype == stock._get_total_norm([p.grad for p in again]).dtype
    # an ULP of f32, then the rounding to the norm's own dtype
    assert abs(norm.item() / true - 1) <= 2.0**-23 + float(torch.finfo(norm.dtype).eps)
    stock._clip_grads_with_norm_(again, true * factor, norm)
    assert bits(given) == bits(again)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", [0.0, 1e-7, 0.3, 1.0, 17.3, 60000.0, math.inf, math.nan])
def test_a_norm_that_is_known_is_read_on_the_device(gpu, dtype, norm):
    torch.manual_seed(2)
    given, again = twice(parameters((F32, F16, F64, BF16)))
    total = torch.tensor(norm, dtype=dtype)
    ours.clip_grads_with_norm_(given, 0.7, total)
    stock._clip_grads_with_norm_(again, 0.7, total)
    assert launched(gpu) == ["norm_list", "scale"]
    assert bits(given) == bits(again)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("bound", [0.0, 0.37, 1e4, math.inf, math.nan])
def test_values_are_clipped_as_by_torch(gpu, kind, bound):
    torch.manual_seed(3)
    given, again = twice(parameters(LISTS[kind]))
    for p, q in zip(given, again, strict=True):
        if p.grad.numel() > 2:
            p.grad.view(-1)[1] = q.grad.view(-1)[1] = math.nan
    ours.clip_grad_value_(given, bound)
    stock.clip_grad_value_(again, bound)
    assert launched(gpu) == ["clamp"]
    assert bits(given) == bits(again)


def test_the_total_norm_is_a_tensor_of_torchs_dtype(gpu):
    tensors = [torch.full((1000,), 0.5, dtype=BF16), torch.tensor(2.0, dtype=F16)]
    norm = ours.get_total_norm(tensors)
    assert (norm.dtype, norm.shape) == (F32, torch.Size([]))
    assert norm.item() == F32_NORM
    assert launched(gpu) == ["norm_list"]


F32_NORM = float(np.float32(math.sqrt(254.0)))


@pytest.mark.parametrize("dtype", [F16, BF16, F32])
def test_finite_gradients_whose_norm_the_dtype_cannot_hold(gpu, dtype):
    largest = torch.finfo(dtype).max
    p = parameter(torch.full((4,), largest, dtype=dtype))
    norm = ours.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert norm.isinf()
    # each half of the limit: a coefficient and a product, each rounded
    assert torch.allclose(p.grad.double(), torch.tensor(0.5, dtype=F64), rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_norms_that_are_an_error_write_nothing(gpu, value):
    p = parameter(torch.tensor([1.0, value], dtype=F64))
    before, version = bits([p]), p.grad._version
    for call in (
        lambda: ours.clip_grad_norm_(p, 1.0, error_if_nonfinite=True),
        lambda: ours.get_total_norm(p.grad, error_if_nonfinite=True),
    ):
        with pytest.raises(RuntimeError, match=r"^The total norm of order 2\.0 for gradients from"):
            call()
    assert (bits([p]), p.grad._version) == (before, version)
    ours.clip_grad_norm_(p, 1.0)
    assert bits([p]) != before


def test_version_counters_move(gpu):
    p = parameter(torch.ones(3))
    for call in (
        lambda: ours.clip_grad_norm_(p, 1.0),
        lambda: ours.clip_grads_with_norm_(p, 1.0, torch.tensor(2.0)),
        lambda: ours.clip_grad_value_(p, 0.1),
    ):
        before = p.grad._version
        call()
        assert p.grad._version == before + 1


def test_a_parameter_listed_twice_is_scaled_once_and_a_shared_gradient_counts_twice(gpu):
    p, q = parameter(torch.tensor([3.0, 4.0])), parameter(torch.zeros(1))
    assert ours.clip_grad_norm_([p, p, q], 1.0).item() == 5.0
    assert torch.allclose(p.grad, torch.tensor([0.6, 0.8]))
    p, q = parameter(torch.tensor([3.0, 4.0])), parameter(torch.zeros(2))
    q.grad = p.grad
    assert ours.clip_grad_norm_([p, q], math.inf).item() == np.float32(math.sqrt(50.0))


@pytest.mark.parametrize(
    "gradient",
    [torch.ones(4, 6)[:, :3], torch.ones(3).to_sparse(), torch.ones(3, dtype=torch.complex64)],
    ids=["strided", "sparse", "complex"],
)
def test_the_rest_is_torchs(gpu, gradient):
    given = [torch.nn.Parameter(torch.zeros_like(gradient)), torch.nn.Parameter(torch.zeros(2))]
    given[0].grad, given[1].grad = gradient, torch.ones(2)
    if not gradient.is_sparse:
        ours.clip_grad_norm_(given, 1.0)
        assert ours.get_total_norm([p.grad for p in given]).item() == pytest.approx(1.0, rel=1e-5)
    assert _cuda._read(given, True) is NotImplemented
    assert launched(gpu) == []


@pytest.mark.parametrize("order", [1.0, 3.0, math.inf])
def test_other_norms_are_torchs(gpu, order):
    p, q = parameter(torch.tensor([3.0, -4.0])), parameter(torch.tensor([3.0, -4.0]))
    norm = ours.clip_grad_norm_(p, 1.0, order)
    assert norm == stock.clip_grad_norm_(q, 1.0, order)
    assert launched(gpu) == ["norm_list", "scale"]  # by the norm that torch has found
    assert bits([p]) == bits([q])


def test_without_cupy_torch_serves(gpu, monkeypatch):
    monkeypatch.setattr(_cuda, "_unusable", False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    p = parameter(torch.tensor([3.0, 4.0]))
    assert ours.clip_grad_norm_(p, 1.0).item() == 5.0
    assert p.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-6)
    assert _cuda._unusable


def test_when_memory_is_short_torch_serves_this_once(gpu, monkeypatch):
    def full(*_):
        raise MemoryError

    p = parameter(torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0]))
    with monkeypatch.context() as short:
        short.setattr(sys.modules["cupy"], "zeros", full)
        assert ours.clip_grad_norm_(p, 10.0).item() == 5.0
        assert launched(gpu) == []
    assert ours.clip_grad_norm_(p, 10.0).item() == 5.0
    assert launched(gpu) == ["norm_list", "scale"]


def test_while_a_graph_is_captured_torch_serves(gpu, monkeypatch):
    monkeypatch.setattr(_cuda, "_capturing", lambda: True)
    p = parameter(torch.tensor([3.0, 4.0]))
    assert ours.clip_grad_norm_(p, 1.0).item() == 5.0
    assert launched(gpu) == []


def test_lists_are_told_apart_and_addresses_follow(gpu):
    norms = []
    for values in ([1.0] * 3, [2.0] * 3, [1.0] * 4):
        p = parameter(torch.tensor(values))
        norms += [ours.clip_grad_norm_(p, 100.0).item(), ours.clip_grad_norm_(p, 100.0).item()]
    assert norms == pytest.approx([math.sqrt(3.0)] * 2 + [math.sqrt(12.0)] * 2 + [2.0] * 2, rel=2.0**-22)
    assert gpu.cuda.uploads <= 3


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_an_optimizer_that_clips_in_its_step(gpu, factor):
    p, q = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    for weight in (p, q):
        weight.grad = torch.tensor([3.0, 4.0])
    a, b = (torch.optim.SGD([weight], lr=1.0) for weight in (p, q))
    clipping = ours.clip_in_step(a, 5.0 * factor)
    a.step()
    assert clipping.total_norm.item() == 5.0
    stock._clip_grads_with_norm_([q], 5.0 * factor, torch.tensor(5.0))
    b.step()
    assert torch.equal(p, q)
    assert "norm_list" in launched(gpu)


def test_a_cpu_tensor_does_not_go_this_way():
    assert not _cuda.serves([torch.ones(3)])
    assert not _cuda.serves([])
    assert fastclip._config.backend.device_tensors([torch.ones(3)], False, 2) is NotImplemented
