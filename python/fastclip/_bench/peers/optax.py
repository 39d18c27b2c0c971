# SPDX-License-Identifier: BSD-3-Clause
"""optax: its transformations inside `jax.jit`, into new arrays or into those given up for them (donated)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


def _by_norm(gradients: Any, limit: Any) -> tuple[Any, Any]:
    """Clip by global norm; XLA takes the norm that is returned and optax's own for one."""
    import optax

    return optax.tree.norm(gradients), optax.clip_by_global_norm(limit).update(gradients, optax.EmptyState())[0]


def _by_value(gradients: Any, bound: Any) -> Any:
    import optax

    return optax.clip(bound).update(gradients, optax.EmptyState())[0]


def _each(gradients: Any, limit: Any) -> Any:
    return [_by_norm([gradient], limit)[1][0] for gradient in gradients]


def _rows(gradients: Any, limit: Any) -> Any:
    import jax

    return [jax.vmap(lambda row: _by_norm([row], limit)[1][0])(gradients[0])]


def _per_example(gradients: Any, limit: Any) -> Any:
    import optax

    return optax.per_example_global_norm_clip(gradients, limit)[0]


def _ours_by_norm(gradients: Any, limit: Any) -> Any:
    """Clip by global norm, which is not returned: asked for apart, it would be read for again."""
    from fastclip import optax as ours

    return ours.clip_by_global_norm(limit).update(gradients, ours.clip_by_global_norm(limit).init(gradients))[0]


def _ours_by_value(gradients: Any, bound: Any) -> Any:
    from fastclip import optax as ours

    return ours.clip(bound).update(gradients, ours.clip(bound).init(gradients))[0]


def _tensors(arrays: Sequence[FloatArray]) -> list[Any]:
    import jax.numpy as jnp

    return [jnp.array(array) for array in arrays]


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the transformations, compiled; every call waits until XLA is done."""
    import jax

    tensors = _tensors(arrays)

    def compiled(call: Callable[[Any, Any], Any]) -> Callable[[float], Any]:
        jitted = jax.jit(call)
        return lambda limit: jax.block_until_ready(jitted(tensors, limit))

    return Peer(
        "optax",
        clip_norm=compiled(_by_norm),
        clip_value=compiled(_by_value),
        clip_each=compiled(_each),
        clip_rows=compiled(_rows),
        clip_new=compiled(_by_norm),
        per_example=compiled(_per_example),
        in_place=False,
    )


def _donated(
    name: str, arrays: Sequence[FloatArray], by_norm: Callable[..., Any], by_value: Callable[..., Any], **traits: Any
) -> Peer:
    """Bind functions with their input donated: each call clips in place what the last one left."""
    import jax

    tensors = _tensors(arrays)
    by_norm, by_value = jax.jit(by_norm, donate_argnums=0), jax.jit(by_value, donate_argnums=0)

    def clip_norm(limit: float) -> Any:
        nonlocal tensors
        answer = jax.block_until_ready(by_norm(tensors, limit))
        norm, tensors = answer if isinstance(answer, tuple) else (None, answer)
        return norm

    def clip_value(bound: float) -> None:
        nonlocal tensors
        tensors = jax.block_until_ready(by_value(tensors, bound))

    return Peer(name, clip_norm=clip_norm, clip_value=clip_value, own=lambda: tensors, **traits)


def bind_donated(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the transformations with their input donated."""
    return _donated("optax donated", arrays, _by_norm, _by_value, always_writes=True)


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own transformations of the same names, compiled."""
    import jax

    tensors = _tensors(arrays)
    by_norm, by_value = jax.jit(_ours_by_norm), jax.jit(_ours_by_value)
    return Peer(
        "fastclip.optax",
        clip_norm=lambda limit: jax.block_until_ready(by_norm(tensors, limit)),
        clip_value=lambda bound: jax.block_until_ready(by_value(tensors, bound)),
        in_place=False,
        returns_norm=False,
    )


def bind_fastclip_donated(arrays: Sequence[FloatArray]) -> Peer:
    """Bind those with their input donated."""
    return _donated("fastclip.optax donated", arrays, _ours_by_norm, _ours_by_value, returns_norm=False)
