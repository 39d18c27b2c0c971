# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.optax in programs for several devices, in float64, and exported: in processes of their own."""

import os
import subprocess
import sys

import pytest
from scripts import PACKAGES

HEAD = """
import math, os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2" if {devices} == 2 else ""
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_enable_x64", {wide})
import fastclip, fastclip.optax as ours
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
def update(module, tree, limit=0.7, name="clip_by_global_norm"):
    return getattr(module, name)(limit).update(tree, optax.EmptyState())[0]
def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.sharding == y.sharding
        np.testing.assert_allclose(x, y, rtol=1e-6)
native = lambda: fastclip.show_config()["calls"]["native"]
"""

SEVERAL = """
mesh = Mesh(np.array(jax.devices()), ("x",))
split, whole = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())
x, y = jax.device_put(jnp.arange(8.0).reshape(4, 2), split), jax.device_put(jnp.ones(3), whole)
def mapped(module, **how):
    return jax.shard_map(lambda a, b: tuple(update(module, [a, b])), mesh=mesh, in_specs=(P("x"), P()),
                         out_specs=(P("x"), P("x")), **how)
before = native()
for program in (
    lambda m: jax.jit(lambda t: update(m, t))([x, y]),
    lambda m: update(m, [x, y]),
    lambda m: mapped(m)(x, y),
    lambda m: mapped(m, check_vma=False)(x, y),
    lambda m: jax.jit(mapped(m))(x, y),
    lambda m: jax.pmap(lambda t: update(m, t))([jnp.arange(8.0).reshape(2, 4)]),
    lambda m: jax.grad(lambda a: mapped(m)(a, y)[0].sum())(x),
):
    same(program(ours), program(optax))
assert native() == before, "XLA must see the maths"
same(jax.jit(lambda t: update(ours, t))([jnp.ones(3)]), update(optax, [jnp.ones(3)]))
assert native() == before + 1
"""

WIDE = """
tree = [jnp.array([3.0, 4.0]), jnp.ones(3, jnp.float32), jnp.ones(3, jnp.bfloat16)]
assert tree[0].dtype == jnp.float64
for name in ("clip", "clip_by_block_rms"):
    same(update(ours, tree, 0.7, name), update(optax, tree, 0.7, name))
same(update(ours, tree[:2]), update(optax, tree[:2]))
assert native() == 3
big = update(ours, [jnp.array([3e200, 4e200])], 1.0)[0]
np.testing.assert_allclose(big, [0.6, 0.8], rtol=3 * 2.0**-53)
"""

EXPORTED = """
tree = [jnp.array([3.0, 4.0])]
program = jax.jit(lambda t: update(ours, t))
for platforms in (["cuda"], ["cpu", "cuda"]):  # as optax's: nothing of fastclip's is in it
    exported = jax.export.export(program, platforms=platforms)(tree)
    assert "@fastclip" not in str(exported.mlir_module())
same(exported.call(tree), update(optax, tree))
allowed = [jax.export.DisabledSafetyCheck.custom_call("fastclip_clip_by_global_norm")]
exported = jax.export.export(program, disabled_checks=allowed)(tree)
before = native()
same(exported.call(tree), update(optax, tree))
assert native() == before + 1
try:
    jax.export.export(program)(tree)
except ValueError as error:
    assert "fastclip_clip_by_global_norm" in str(error)
else:
    raise AssertionError("JAX lets no custom call of others pass unasked")
"""

REFERENCE = """
same(update(ours, [jnp.array([3.0, 4.0])]), update(optax, [jnp.array([3.0, 4.0])]))
assert fastclip.show_config()["backend"] == "reference"
"""


@pytest.mark.parametrize(
    ("text", "devices", "wide", "environment"),
    [
        (SEVERAL, 2, False, {}),
        (WIDE, 1, True, {}),
        (EXPORTED, 1, False, {}),
        (REFERENCE, 1, False, {"FASTCLIP_BACKEND": "reference"}),
    ],
    ids=["several devices", "float64", "exported", "without native code"],
)
def test_a_program(text, devices, wide, environment):
    environment = os.environ | {"PYTHONPATH": PACKAGES} | environment
    command = [sys.executable, "-c", HEAD.format(devices=devices, wide=wide) + text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
