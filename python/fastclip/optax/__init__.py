# SPDX-License-Identifier: BSD-3-Clause
"""optax's gradient clipping, with exact norms, as custom calls in what JAX compiles for the CPU.

>>> import jax, jax.numpy as jnp, optax, fastclip.optax
>>> optimizer = optax.chain(fastclip.optax.clip_by_global_norm(1.0), optax.sgd(1.0))
>>> parameters = jnp.zeros(2)
>>> step = jax.jit(lambda gradients, state: optimizer.update(gradients, state)[0])
>>> step(jnp.array([3.0, 4.0]), optimizer.init(parameters))
Array([-0.6, -0.8], dtype=float32)
"""

from __future__ import annotations

from fastclip import _errors

with _errors.importing("fastclip.optax", "jax", "optax"):
    import jax as _jax  # noqa: F401
    import optax as _optax  # noqa: F401

from fastclip.optax._clipping import clip, clip_by_block_rms, clip_by_global_norm, global_norm
from fastclip.optax._delegated import adaptive_grad_clip, per_example_global_norm_clip, per_example_layer_norm_clip

__all__ = [
    "adaptive_grad_clip",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "global_norm",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
]
