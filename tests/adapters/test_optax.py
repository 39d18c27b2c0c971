# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.optax beside optax: the same results, compiled or not, under every transformation of JAX."""

import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fastclip
import fastclip.optax as ours

NAMES = ("clip", "clip_by_global_norm", "clip_by_block_rms")
each_name = pytest.mark.parametrize("name", NAMES)
U32 = 2.0**-24
# The largest array has 40 elements: optax's f32 sum of squares is off by 40 u at most, its root by half of it and one.
# A quotient, a product and the rounding of a coefficient follow, in either way.
NEAR = 26 * U32
TREE = {"w": jnp.arange(-20.0, 20.0).reshape(8, 5) / 7, "b": [jnp.array([3.0, -0.5]), None], "s": jnp.float32(0.25)}
HALF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


def update(module, name, limit, tree=TREE):
    transformation = getattr(module, name)(limit)
    return transformation.update(tree, transformation.init(tree))[0]


def same(a, b, near=NEAR):
    """Compare trees: structure, dtypes, shapes and, but for `near`, values; NaN is NaN."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape, x.weak_type) == (y.dtype, y.shape, y.weak_type)
        np.testing.assert_allclose(np.asarray(x, np.float64), np.asarray(y, np.float64), rtol=near, atol=near * 1e-3)
    return True


def native_calls():
    return fastclip.show_config()["calls"]["native"]


@pytest.mark.parametrize("limit", [0.7, 2, 1e9, math.inf, 0.0, np.float32(0.7), jnp.float32(0.7)], ids=repr)
@each_name
def test_updates_are_optaxs(name, limit):
    calls = native_calls()
    assert same(update(ours, name, limit), update(optax, name, limit))
    assert native_calls() == calls + 1
    compiled = jax.jit(lambda tree: update(ours, name, limit, tree))
    assert same(compiled(TREE), update(optax, name, limit))
    assert native_calls() == calls + 2


def test_values_have_optaxs_bits():
    special = jnp.array(
        [math.nan, math.inf, -math.inf, -0.0, 0.0, 0.7, -0.7, 2e-38, 3e38]
    )  # smaller ones XLA flushes to 0
    for bound in (0.7, 0.0, math.nan, math.inf, -0.7):
        a, b = (np.asarray(update(module, "clip", bound, special)).view(np.int32) for module in (ours, optax))
        nan = np.isnan(a.view(np.float32))
        assert (nan == np.isnan(b.view(np.float32))).all()
        assert (a == b)[~nan].all(), bound


@pytest.mark.parametrize("dtype", HALF)
@each_name
def test_half_precision_and_mixed_trees(name, dtype):
    """optax rounds norm, quotient and product to the dtype, and its sum of 20 squares to f32 at best: 4 roundings."""
    half = jax.tree.map(lambda x: x.astype(dtype), TREE)
    assert same(update(ours, name, 0.7, half), update(optax, name, 0.7, half), 8 * HALF[dtype])
    mixed = [jnp.ones(3, dtype), jnp.full(4, 2.0, jnp.float32)]
    assert same(update(ours, name, 0.7, mixed), update(optax, name, 0.7, mixed), 8 * HALF[dtype])


LEAVES = [
    [],
    [jnp.arange(3)],
    [jnp.ones(2) * 1j],
    [np.ones(3, np.float32)],
    [1.0],
    [jnp.ones((0, 3))],
    [jnp.array(True)],
]
LIMITS = [-1.0, math.nan, jnp.bfloat16(0.7), np.ones(2), "1", True, None]
# a float to Python, and to JAX a number of a dtype of its own, as which it counts in the results'
PROMOTES = ([jnp.ones(2, jnp.bfloat16)], np.float64(0.7))


@pytest.mark.parametrize(
    ("leaves", "limit"),
    [*((leaves, 0.7) for leaves in LEAVES), *(([jnp.ones(2)], limit) for limit in LIMITS), PROMOTES],
    ids=repr,
)
@each_name
def test_everything_else_is_optaxs_result_or_error(name, leaves, limit):
    def outcome(module):
        try:
            return repr(update(module, name, limit, leaves))
        except Exception as error:
            return type(error)

    assert outcome(ours) == outcome(optax)


@each_name
def test_derivatives_and_batches_are_optaxs(name):
    def loss(module):
        def of(tree):
            clipped = jax.tree.leaves(update(module, name, 0.7, tree))
            return sum(jnp.sum(x**2 * (1 + jnp.arange(x.size).reshape(x.shape))) for x in clipped)

        return of

    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x, 0.01 * x]), TREE)
    transformed = {
        "grad": lambda f: jax.grad(f)(TREE),
        "compiled grad": lambda f: jax.jit(jax.grad(f))(TREE),
        "forward": lambda f: jax.jvp(f, (TREE,), (TREE,)),
        "checkpoint": lambda f: jax.grad(jax.checkpoint(f))(TREE),
        "vmap": lambda f: jax.vmap(f)(batch),
        "compiled vmap": lambda f: jax.jit(jax.vmap(f))(batch),
        "vmap of grad": lambda f: jax.vmap(jax.grad(f))(batch),
        "grad of vmap": lambda f: jax.grad(lambda t: jax.vmap(f)(t).sum())(batch),
    }
    calls = native_calls()
    for how in transformed.values():
        # derivatives of the clipped tree add up some 50 terms; they differ as the trees do, times the cancellation
        assert same(how(loss(ours)), how(loss(optax)), 50 * NEAR)
    assert native_calls() == calls, "XLA must see the maths"


@each_name
def test_the_limit_has_a_derivative_and_may_be_traced(name):
    def total(module):
        return lambda limit: sum(jnp.sum(x) for x in jax.tree.leaves(update(module, name, limit)))

    np.testing.assert_allclose(jax.grad(total(ours))(0.7), jax.grad(total(optax))(0.7), rtol=50 * NEAR)
    assert same(jax.jit(lambda m: update(ours, name, m))(0.7), update(optax, name, 0.7))
    batched = jax.vmap(lambda m: update(ours, name, m))(jnp.array([0.3, 0.7]))
    assert same(batched, jax.vmap(lambda m: update(optax, name, m))(jnp.array([0.3, 0.7])))


@each_name
def test_inside_control_flow(name):
    def of(module):
        def body(tree, _):
            return update(module, name, 0.7, jax.tree.map(lambda x: 1.5 * x, tree)), None

        def both(tree, yes):
            tree = jax.lax.scan(body, tree, None, length=3)[0]
            return jax.lax.cond(yes, lambda t: update(module, name, 0.5, t), lambda t: t, tree)

        return jax.jit(both)(TREE, True)

    calls = native_calls()
    assert same(of(ours), of(optax), 4 * NEAR)
    assert native_calls() == calls + 4


@each_name
def test_a_donated_input_is_clipped_in_place_and_a_kept_one_is_kept(name):
    x = jnp.full((512, 512), 3.0)
    kept = jax.jit(lambda t: update(ours, name, 0.7, t))([x, x])
    assert (x == 3.0).all()
    assert len({x.unsafe_buffer_pointer(), *(y.unsafe_buffer_pointer() for y in kept)}) == 3
    address = x.unsafe_buffer_pointer()
    (clipped,) = jax.jit(lambda t: update(ours, name, 0.7, t), donate_argnums=0)([x])
    assert clipped.unsafe_buffer_pointer() == address
    assert x.is_deleted()
    assert (clipped == kept[0]).all() or name == "clip_by_global_norm"


@each_name
def test_gradients_made_in_a_program_are_clipped_without_a_copy(name):
    def step(weight, x):
        gradient = jax.grad(lambda w: jnp.sum(jnp.tanh(x @ w) ** 2))(weight)
        return weight - 0.1 * update(ours, name, 0.01, [gradient])[0]

    program = jax.jit(step, donate_argnums=0).lower(jnp.ones((64, 64)), jnp.ones((8, 64))).compile().as_text()
    assert f"fastclip_{name}" in program
    assert " copy(" not in program


def test_norms_that_leave_the_range_are_right():
    big = [jnp.array([3e20, 4e20])]
    assert not np.asarray(update(optax, "clip_by_global_norm", 1.0, big)[0]).any()
    np.testing.assert_allclose(update(ours, "clip_by_global_norm", 1.0, big)[0], [0.6, 0.8], rtol=3 * U32)
    many = [jnp.full(5000, 60.0, jnp.float16)]
    assert not np.asarray(update(optax, "clip_by_global_norm", 1.0, many)[0]).any()
    np.testing.assert_allclose(
        np.asarray(update(ours, "clip_by_global_norm", 1.0, many)[0], float), 5000**-0.5, rtol=2.0**-10
    )
    zeros = [jnp.zeros(3)]
    assert np.isnan(update(optax, "clip_by_global_norm", 0.0, zeros)[0]).all()
    assert not np.asarray(update(ours, "clip_by_global_norm", 0.0, zeros)[0]).any()
    # XLA's thread flushes subnormal numbers to zero; ours does not
    np.testing.assert_allclose(float(ours.global_norm([jnp.full(4096, 1e-40)])), 64e-40, rtol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@each_name
def test_what_is_not_finite(name, bad):
    tree = [jnp.array([1.0, bad]), jnp.array([2.0])]
    assert same(update(ours, name, 0.7, tree), update(optax, name, 0.7, tree))


@each_name
def test_without_compilation_it_is_optaxs(name):
    calls = native_calls()
    with jax.disable_jit():
        assert same(update(ours, name, 0.7), update(optax, name, 0.7), 0.0)
        assert same([ours.global_norm(TREE)], [optax.tree.norm(TREE)], 0.0)
    assert native_calls() == calls


@pytest.mark.parametrize("compiled", [False, True])
def test_a_nan_is_found(compiled):
    def clip(x):
        return update(ours, "clip_by_global_norm", 0.7, x)

    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        (jax.jit(clip) if compiled else clip)(jnp.array([1.0, math.nan]))


def test_a_negative_limit_that_only_the_running_program_knows_is_an_error():
    with pytest.raises(Exception, match=r"clip_by_global_norm: max_norm is -1\.0+ in a compiled program; expected"):
        jax.block_until_ready(jax.jit(lambda m: update(ours, "clip_by_global_norm", m))(-1.0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_norm_is_exact_before_it_is_rounded(dtype):
    tree = jax.tree.map(lambda x: x.astype(dtype), TREE)
    exact = math.sqrt(math.fsum(float(v) ** 2 for x in jax.tree.leaves(tree) for v in np.asarray(x, float).flat))
    norm = jax.jit(ours.global_norm)(tree)
    assert norm == jnp.asarray(np.float64(exact), dtype)
    assert norm.dtype == optax.tree.norm(tree).dtype
    assert same(jax.grad(ours.global_norm)(TREE), jax.grad(optax.tree.norm)(TREE))
    assert same(jax.vmap(ours.global_norm)([jnp.ones((3, 2))]), jax.vmap(optax.tree.norm)([jnp.ones((3, 2))]))
    assert same([ours.global_norm([])], [jnp.asarray(optax.tree.norm([]))])


def test_what_is_delegated_is_optaxs():
    grads, params = [jnp.arange(12.0).reshape(3, 4)], [jnp.ones((3, 4))]
    a, b = (module.adaptive_grad_clip(0.1, eps=1e-2, axis=1).update(grads, None, params)[0] for module in (ours, optax))
    assert same(a, b, 0.0)
    for name in ("per_example_global_norm_clip", "per_example_layer_norm_clip"):
        assert same(getattr(ours, name)(grads, 2.0), getattr(optax, name)(grads, 2.0), 0.0)


def test_every_name_by_which_optax_holds_them_is_patched_and_restored():
    stock = {name: getattr(optax, name) for name in (*NAMES, "global_norm")}
    with fastclip.patch("optax"):
        for name in NAMES:
            assert getattr(optax, name) is getattr(optax.transforms, name) is getattr(ours, name)
        assert optax.global_norm is ours.global_norm
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
        assert same(
            optimizer.update(TREE, optimizer.init(TREE))[0], jax.tree.map(jnp.negative, update(ours, NAMES[1], 1.0))
        )
    assert stock == {name: getattr(optax, name) for name in stock}


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the system has no huge pages")
def test_large_results_are_on_huge_pages():
    """XLA allocates them afresh, and small pages take four times as long to come. Empty ones may lie anywhere."""
    large, empty = jnp.ones(1 << 22), jnp.ones(0)
    tree = [empty, large, empty, large, empty]
    clipped = jax.jit(lambda tree: update(ours, "clip_by_global_norm", 1.0, tree))(tree)
    for result in clipped[1::2]:
        flags = page_flags(result.unsafe_buffer_pointer() + large.nbytes // 2)
        assert "hg" in flags
        assert "hg" not in page_flags(id(flags))


def page_flags(address):
    """What the system has been told of the memory at an address."""
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if match := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
            first, end = (int(number, 16) for number in match.groups())
            here = first <= address < end
        elif here and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise LookupError(hex(address))
