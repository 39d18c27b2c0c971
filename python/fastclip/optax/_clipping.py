# SPDX-License-Identifier: BSD-3-Clause
"""The functions of `optax.transforms._clipping`, as optax 0.2.8 has them: those that are operations of fastclip's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fastclip._config import delegated
from fastclip.optax._operation import operation

# optax's own, held from before anybody replaces them.
_stock: dict[str, Any] = {name: getattr(optax, name) for name in ("clip", "clip_by_block_rms", "clip_by_global_norm")}

_DTYPES = frozenset(map(jnp.dtype, (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)))


def _clipping(name: str) -> Callable[..., list[Any]]:
    """Make the operation of one of optax's transformations: its limit, then the arrays."""

    def stock(limit: Any, *arrays: Any) -> list[Any]:
        updates: list[Any] = _stock[name](limit).update(list(arrays), optax.EmptyState())[0]
        return updates

    return operation(name, stock, lambda limit, *arrays: list(arrays))


_operations = {name: _clipping(name) for name in _stock}
_norm = operation(
    "global_norm",
    lambda *arrays: [optax.tree.norm(list(arrays))],
    lambda *arrays: [jax.core.ShapedArray((), jnp.result_type(*(a.dtype for a in arrays)))],
)


def _served(leaves: list[Any]) -> bool:
    """Tell whether the operations take these arrays; within `shard_map`, where JAX follows each part, they do not."""
    return (
        bool(leaves)
        and all(isinstance(leaf, jax.Array) and leaf.dtype in _DTYPES for leaf in leaves)
        and not getattr(jax.sharding.get_abstract_mesh(), "manual_axes", ())
    )


def _limit_for(leaves: list[Any], limit: Any) -> Any:
    """Return the limit as an array that changes no array's dtype, or None."""
    if isinstance(limit, (int, float)) and not isinstance(limit, (bool, np.generic)):
        return jnp.asarray(float(limit))  # weakly typed, as JAX takes a number
    if not isinstance(limit, (jax.Array, np.ndarray, np.generic)) or limit.shape != ():
        return None
    number = jnp.asarray(limit)
    wide = number.dtype in (jnp.float32, jnp.float64)
    return number if wide and (number.weak_type or all(leaf.dtype == number.dtype for leaf in leaves)) else None


def _transformation(name: str, limit: Any, accepts: Callable[[float], bool]) -> optax.GradientTransformation:
    stock = _stock[name](limit)
    run = _operations[name]

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(updates)
        number = _limit_for(leaves, limit) if _served(leaves) else None
        if number is None or not (isinstance(limit, jax.core.Tracer) or accepts(float(limit))):
            delegated["calls"] += 1
            return stock.update(updates, state, params)  # type: ignore[no-any-return]
        return jax.tree.unflatten(tree, run(number, *leaves)), state

    return optax.GradientTransformation(stock.init, update)


def clip(max_delta: Any) -> optax.GradientTransformation:
    """Clip updates to [-max_delta, max_delta], element by element.

    float16, bfloat16, float32 and float64 arrays are clipped by fastclip where XLA compiles for one CPU, with the bits
    that optax's have; else by optax.

    Args:
        max_delta: the bound. NaN among the updates stays NaN; a bound of NaN makes all of them NaN.

    Returns:
        A `GradientTransformation` without a state.

    Source: `optax.clip`.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> clip = fastclip.optax.clip(1.0)
        >>> clip.update([jnp.array([3.0, -0.5])], clip.init(None))[0]
        [Array([ 1. , -0.5], dtype=float32)]
    """
    return _transformation("clip", max_delta, lambda bound: True)


def clip_by_global_norm(max_norm: Any) -> optax.GradientTransformation:
    """Clip updates so that the norm of all of them together is at most `max_norm`.

    Every element is multiplied by max_norm / norm where the norm is above `max_norm`. float16, bfloat16, float32 and
    float64 arrays, in one tree, are clipped by fastclip where XLA compiles for one CPU: in place where a program has
    made them itself or was given them for good. Everything else is left to optax.

    What differs from optax's: the norm is exact, and finite updates do not become 0 because their squares or their norm
    leave the range of their dtype; a limit of 0 makes zeros of zeros, not NaN.

    Args:
        max_norm: the limit, a number or an array of no dimensions. Infinity clips nothing. By a negative limit optax
            turns the updates round; where the limit is only known when a compiled program runs, that is an error here.

    NaN or infinity: finite updates become 0 and infinite ones NaN; with a NaN, all do.

    Returns:
        A `GradientTransformation` without a state.

    Source: `optax.clip_by_global_norm`; Pascanu, Mikolov and Bengio (2013).

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> clip = fastclip.optax.clip_by_global_norm(1.0)
        >>> clip.update(jnp.array([3e20, 4e20]), clip.init(None))[0].round(6)  # optax's own: zeros
        Array([0.6, 0.8], dtype=float32)
    """
    return _transformation("clip_by_global_norm", max_norm, lambda limit: limit >= 0.0)


def clip_by_block_rms(threshold: Any) -> optax.GradientTransformation:
    """Clip each array of the updates so that its root mean square is at most `threshold`.

    Which arrays fastclip clips, and what differs from optax's, is as for `clip_by_global_norm`.

    Args:
        threshold: the limit, a number or an array of no dimensions. Infinity and negative numbers clip nothing.

    NaN or infinity: finite updates of that array become 0 and infinite ones NaN; with a NaN, all do.

    Returns:
        A `GradientTransformation` without a state.

    Source: `optax.clip_by_block_rms`.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> clip = fastclip.optax.clip_by_block_rms(1.0)
        >>> clip.update([jnp.array([3.0, -3.0])], clip.init(None))[0]
        [Array([ 1., -1.], dtype=float32)]
    """
    return _transformation("clip_by_block_rms", threshold, lambda limit: True)


def global_norm(updates: Any) -> jax.Array:
    """Compute the L2 norm of all elements of a tree of arrays.

    Args:
        updates: the tree. Which arrays fastclip reads is as for `clip_by_global_norm`.

    Returns:
        The norm, in the dtype that the arrays' are promoted to: exact before it is rounded to it.

    Source: `optax.global_norm`, which optax 0.2.8 calls `optax.tree.norm`.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> fastclip.optax.global_norm([jnp.array([3.0]), jnp.array(4.0)])
        Array(5., dtype=float32)
    """
    leaves = jax.tree.leaves(updates)
    if _served(leaves):
        return _norm(*leaves)[0]
    delegated["calls"] += 1
    return optax.tree.norm(updates)
