# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch's CPU tensors, as they are: through DLPack, in place, or refused with PyTorch's own reason."""

import numpy as np
import pytest
import torch
from oracle import same_bits

import fastclip

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LAYOUTS = {
    "C": lambda t: t,
    "transposed": lambda t: t.t(),
    "steps": lambda t: t[::2, 1:],
    "0-d": lambda t: t[1, 1],
    "channels last": lambda t: t.reshape(1, 2, 3, 2).contiguous(memory_format=torch.channels_last),
}


def sample(dtype=torch.float32):
    return torch.arange(-5.0, 7.0).reshape(3, 4).to(dtype)


def bits(t):
    return t.contiguous().view(torch.uint8).numpy().tobytes() if t.ndim else t.reshape(1).view(torch.uint8).tolist()


def exported(t):
    return t.double().numpy().copy()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_are_clipped_in_place(dtype, layout):
    t = LAYOUTS[layout](sample(dtype))
    before = exported(t)
    norm = np.sqrt((before**2).sum())
    assert fastclip.global_norm([t]) == fastclip.measure([t]).norm == pytest.approx(norm, rel=1e-15)
    assert fastclip.clip_by_global_norm_([None, t], norm / 2) == pytest.approx(norm, rel=1e-15)
    u = torch.finfo(dtype).eps / 2
    np.testing.assert_allclose(exported(t), before / 2, rtol=2.01 * u)
    expected = t.clone().clamp_(-1.0, 1.0)
    fastclip.clip_by_value_(t, -1.0, 1.0)
    assert bits(t) == bits(expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_of_place_gives_numpy_arrays(dtype):
    t = sample(dtype)
    out = fastclip.clip_by_value(t, -1.0, 1.0)
    assert type(out) is np.ndarray
    assert same_bits(out.astype(np.float64), exported(t.clamp(-1.0, 1.0)))
    assert bits(t) == bits(sample(dtype))


def test_a_parameter_is_passed_by_its_data():
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    for call in (fastclip.clip_by_norm_, fastclip.clip_by_norm):
        with pytest.raises(TypeError, match=r"^clip_by_norm_?: t, of type Parameter, .*use tensor\.detach\(\)"):
            call(p, 1.0)
    fastclip.clip_by_norm_([p.data], 2.5)
    assert p.tolist() == [1.5, 2.0]
    fastclip.clip_by_norm_(p.detach(), 1.25)
    assert p.tolist() == [0.75, 1.0]


def test_gradients_are_clipped_as_torch_does():
    models = [torch.nn.Linear(7, 5) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        model(torch.arange(7.0)).square().sum().backward()
    theirs = torch.nn.utils.clip_grad_norm_(models[0].parameters(), 0.5)
    ours = fastclip.clip_by_global_norm_((p.grad for p in models[1].parameters()), 0.5)
    assert ours == pytest.approx(theirs.item(), rel=1e-6)  # torch's sum of 40 squares in f32
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=4e-6, atol=0)  # and its 1e-6


def test_autograd_notices_that_a_saved_tensor_was_written():
    w = torch.ones(3, requires_grad=True)
    x = torch.tensor([3.0, 4.0, 0.0])
    loss = (w * x).sum()
    fastclip.clip_by_norm_(x, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    kept = (w * x).sum()
    fastclip.global_norm([x])
    fastclip.clip_by_norm(x, 0.1)
    with pytest.raises(TypeError):
        fastclip.clip_by_norm_([x, "no array"], 0.1)
    kept.backward()


REFUSED = {
    "sparse": lambda: torch.ones(3).to_sparse(),
    "meta": lambda: torch.ones(3, device="meta"),
    "negation": lambda: torch._neg_view(torch.ones(3)),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "imaginary part of it": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "bool": lambda: torch.ones(3, dtype=torch.bool),
    "zero tensor": lambda: torch._efficientzerotensor(3),
    "mkldnn": lambda: torch.ones(3).to_mkldnn(),
    "int": lambda: torch.ones(3, dtype=torch.int32),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_its_memory_is_refused(kind):
    good = torch.tensor([3.0, 4.0])
    for call in (
        lambda t: fastclip.clip_by_norm_(t, 1.0),
        lambda t: fastclip.clip_by_global_norm_(t, 1.0),
        lambda t: fastclip.global_norm(t),
        lambda t: fastclip.clip_by_global_norm(t, 1.0),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^(clip|global)[a-z_]+: t(_list)?\[1\]"):
            call([good, REFUSED[kind]()])
    assert good.tolist() == [3.0, 4.0]


def test_expanded_tensors_are_read_only_in_effect():
    t = torch.ones(1).expand(4)
    assert fastclip.global_norm([t]) == 2.0
    with pytest.raises(ValueError, match="holds one element at several places"):
        fastclip.clip_by_norm_(t, 1.0)


def test_the_optimizer_wrapper_clips_tensors():
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([30.0, 40.0])
    fastclip.clip_gradients_by_norm(torch.optim.SGD([p], lr=1.0), 5.0).step()
    assert p.tolist() == pytest.approx([-3.0, -4.0], rel=1e-6)  # torch adds 1e-6 to the norm of 50
