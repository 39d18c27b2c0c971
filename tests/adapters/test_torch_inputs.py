# SPDX-License-Identifier: BSD-3-Clause
"""What may be given to fastclip.torch: as PyTorch takes it, and where it refuses, with its words."""

import os
import sys
import warnings

import pytest
import torch
from torchcases import EACH, F16, F32, F64, OURS, STOCK, bits, outcome, parameter, parameters, stock, twice

import fastclip
import fastclip.torch as ours


def served():
    return fastclip.show_config()["calls"]["native"]


def assert_same(name, mine, theirs, mine_as=None, theirs_as=None):
    given = (mine, theirs) if mine_as is None else (mine_as, theirs_as)
    assert outcome(OURS[name], given[0]) == outcome(STOCK[name], given[1])
    for p, q in zip(mine, theirs, strict=True):
        if q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-7)


@EACH
@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        iter,
        torch.nn.ParameterList,
        lambda given: dict(enumerate(given)).values(),
        lambda g: (p for p in g),
    ],
    ids=["list", "tuple", "iterator", "ParameterList", "values", "generator"],
)
def test_iterables(name, kind):
    mine, theirs = twice(parameters())
    before = served()
    assert_same(name, mine, theirs, kind(mine), kind(theirs))
    assert served() > before


@EACH
def test_a_set_and_one_tensor(name):
    mine, theirs = twice(parameters())
    assert_same(name, mine, theirs, set(mine), set(theirs))
    mine, theirs = twice(parameters(shapes=[(5,)]))
    assert_same(name, mine, theirs, mine[0], theirs[0])


@EACH
def test_a_module(name):
    modules = [torch.nn.LSTM(5, 7, 2) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    for module in modules:
        module(torch.ones(3, 2, 5))[0].pow(2).sum().backward()
    mine, theirs = (list(module.parameters()) for module in modules)
    assert_same(name, mine, theirs, modules[0].parameters(), modules[1].parameters())


@EACH
def test_parameters_without_gradients_are_skipped_and_nothing_at_all_is_as_in_torch(name):
    mine, theirs = twice([*parameters(), torch.nn.Parameter(torch.ones(3))])
    assert_same(name, mine, theirs)
    for nothing in ([], [torch.nn.Parameter(torch.ones(3))]):
        assert outcome(OURS[name], nothing) == outcome(STOCK[name], nothing)


def test_an_empty_generator_warns_at_the_callers_line():
    with pytest.warns(UserWarning, match="`parameters` is an empty generator") as seen:
        assert ours.clip_grad_norm_((p for p in ()), 1.0).item() == 0.0
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.clip_grad_norm_(iter([]), 1.0)


def test_the_old_name_warns():
    (given,) = made = parameters(shapes=[(5,)])
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        ours.clip_grad_norm(made, 0.5)
    assert given.grad.norm().item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("max_norm", ["0.5", torch.tensor(0.5), 1, True])
def test_limits_go_through_float(max_norm):
    mine, theirs = twice(parameters())
    norms = ours.clip_grad_norm_(mine, max_norm), stock.clip_grad_norm_(theirs, max_norm)
    torch.testing.assert_close(*norms)
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@EACH
@pytest.mark.parametrize("foreach", [True, False, None])
def test_foreach_changes_nothing(name, foreach):
    given = parameters()
    arguments = {"clip_grad_norm_": (0.5, 2.0, False), "clip_grad_value_": (0.5,)}.get(name, (0.5, torch.tensor(3.0)))
    again = twice(given)[1]
    getattr(ours, name)(given, *arguments)
    getattr(ours, name)(again, *arguments, foreach)
    assert bits(given) == bits(again)


@EACH
@pytest.mark.parametrize("entry", [None, "weight", 3.0, torch.zeros(2).numpy()], ids=str)
def test_what_has_no_grad_is_an_error_and_nothing_is_written(name, entry):
    mine, theirs = twice(parameters())
    before = bits(mine)
    found = outcome(OURS[name], [*mine, entry])
    assert found == outcome(STOCK[name], [*theirs, entry])
    assert found[0] is AttributeError
    assert bits(mine) == before


def quantized():
    return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


@EACH
@pytest.mark.parametrize(
    "gradient",
    [
        lambda: torch.tensor([3, 4]),
        lambda: torch.tensor([True]),
        lambda: torch.tensor([3 + 4j, 1]),
        lambda: torch.ones(3).to_sparse(),
        lambda: torch.ones(3, device="meta"),
        lambda: torch.ones(4).to(torch.float8_e4m3fn),
        quantized,
    ],
    ids=["int", "bool", "complex", "sparse", "meta", "float8", "quantized"],
)
def test_other_tensors_are_torchs_business(name, gradient):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gradient()
        mine, theirs = (
            [type("Holder", (), {"grad": made.clone()})(), *more] for more in twice(parameters(shapes=[(3,)]))
        )
        found, wanted = outcome(OURS[name], mine), outcome(STOCK[name], theirs)
    assert found == wanted


class Logging(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})

    seen = []  # noqa: RUF012


@EACH
def test_subclasses_see_every_operation(name):
    holder = type("Holder", (), {"grad": torch.ones(3).as_subclass(Logging)})()
    Logging.seen.clear()
    OURS[name]([holder])
    assert Logging.seen


@EACH
def test_fake_tensors_and_modes(name):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with FakeTensorMode():
        given = [parameter(torch.ones(3))]
        OURS[name](given)
    given = parameters(shapes=[(5,)])
    before = served()
    with FlopCounterMode(display=False):
        OURS[name](given)
    assert served() == before


@EACH
def test_a_compiler_gets_torchs_own_operations(name):
    mine, theirs = twice(parameters(shapes=[(5,), (3, 2)]))
    compiled = torch.compile(OURS[name], backend="eager", fullgraph=True)
    compiled(mine)
    STOCK[name](theirs)
    assert bits(mine) == bits(theirs)


@EACH
def test_gradients_of_gradients_and_functions_of_torch_func(name):
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    (x.grad,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    assert x.grad.requires_grad
    OURS[name](x)
    assert x.grad.abs().max() <= 32

    def under_vmap(call):
        def inside(v):
            call([type("Holder", (), {"grad": v})()])
            return v

        return lambda given: torch.func.vmap(inside)(given).sum()

    mine, theirs = torch.ones(2, 3), torch.ones(2, 3)
    assert outcome(under_vmap(OURS[name]), mine) == outcome(under_vmap(STOCK[name]), theirs)
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    "tensors",
    [[], [None], [torch.ones(2), None], [torch.tensor([1, 2])], [torch.ones(2, dtype=torch.complex64)]],
    ids=str,
)
def test_norms_of_other_things(tensors):
    def of(function):
        return outcome(function, tensors)

    assert of(ours.get_total_norm) == of(stock._get_total_norm)


@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=str)
def test_the_largest_of_nothing_is_an_error_as_in_torch(dtype):
    tensors = [torch.ones(3, dtype=dtype), torch.ones(0, dtype=dtype)]
    assert ours.get_total_norm(tensors).item() == pytest.approx(3**0.5, rel=1e-3)
    for function in (ours.get_total_norm, stock._get_total_norm):
        with pytest.raises(RuntimeError, match="empty"):
            function(tensors, float("inf"))


def test_a_total_norm_that_is_no_cpu_scalar_is_torchs_business():
    for norm in (5.0, torch.tensor([5.0]), torch.tensor(5), torch.nn.Parameter(torch.tensor(5.0))):
        mine, theirs = twice(parameters([F32]))
        results = [
            outcome(lambda given, f=f, norm=norm: f(given, 1.0, norm), given)
            for f, given in ((ours.clip_grads_with_norm_, mine), (stock._clip_grads_with_norm_, theirs))
        ]
        assert results[0] == results[1]
        assert bits(mine) == bits(theirs)


def test_the_default_device_and_dtype_change_nothing():
    given = parameters(shapes=[(5,)])
    torch.set_default_dtype(F64)
    try:
        with torch.device("meta"):
            norm = ours.clip_grad_norm_(given, 0.5)
    finally:
        torch.set_default_dtype(F32)
    assert norm.dtype == F32
    assert norm.device.type == "cpu"


def test_importing_fastclip_imports_no_torch():
    code = "import fastclip, sys; assert 'torch' not in sys.modules"
    assert os.system(f'{sys.executable} -c "{code}"') == 0


@EACH
def test_a_tracer_gets_torchs_own_operations(name):
    def traced(call):
        def clip(x):
            holder = type("Holder", (), {"grad": x.clone()})()
            call([holder])
            return holder.grad

        return torch.jit.trace(clip, torch.ones(3), check_trace=False)(torch.tensor([3.0, 4.0, 0.0]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(traced(OURS[name]), traced(STOCK[name]))


@EACH
def test_arrays_are_no_gradients(name):
    """PyTorch refuses them; nothing may have been written by then."""
    array = torch.tensor([3.0, 4.0]).numpy()
    holder = type("Holder", (), {"grad": array})()
    found = outcome(OURS[name], [holder, *parameters(shapes=[(3,)])])
    assert issubclass(found[0], (TypeError, AttributeError))
    assert array.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(("dtype", "bound"), [(F16, 65519.0), (F16, 65504.0), (F32, 3.4028235e38), (F32, 1e38)])
def test_bounds_at_the_end_of_a_dtype(dtype, bound):
    results = []
    for clip in (ours.clip_grad_value_, stock.clip_grad_value_):
        given = [parameter(torch.tensor([float("inf"), 1.0], dtype=dtype))]
        results.append((outcome(lambda g, clip=clip: clip(g, bound), given), bits(given)))
    assert results[0] == results[1]
