# SPDX-License-Identifier: BSD-3-Clause
"""The clipping of optax that is left to XLA: norms along axes, and sums over examples, its matrix products."""

from __future__ import annotations

from typing import Any

import optax

# optax's own, held from before anybody replaces them.
_adaptive_grad_clip = optax.adaptive_grad_clip
_per_example_global_norm_clip = optax.per_example_global_norm_clip
_per_example_layer_norm_clip = optax.per_example_layer_norm_clip


def adaptive_grad_clip(clipping: Any, eps: Any = 1e-3, axis: Any = None) -> optax.GradientTransformation:
    """Clip each unit of the updates to at most `clipping` times the norm of the unit's parameters, by optax.

    Args:
        clipping: the largest ratio of the two norms.
        eps: the smallest norm that parameters count with.
        axis: the axes that a unit extends along; by default those that optax chooses by the number of dimensions.

    Returns:
        A `GradientTransformation` without a state, whose `update` needs the parameters.

    Source: `optax.adaptive_grad_clip`; Brock et al. (2021), arXiv:2102.06171.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> clip = fastclip.optax.adaptive_grad_clip(0.5)
        >>> clip.update([jnp.array([3.0, 4.0])], clip.init(None), [jnp.array([0.0, 2.0])])[0]
        [Array([0.6, 0.8], dtype=float32)]
    """
    return _adaptive_grad_clip(clipping, eps, axis)


def per_example_global_norm_clip(grads: Any, l2_norm_clip: Any) -> tuple[Any, Any]:
    """Clip the gradient of each example by its norm over all arrays and add the examples up, by optax.

    Args:
        grads: a tree of arrays whose first axis counts the examples.
        l2_norm_clip: the limit.

    Returns:
        The sums, and how many examples were clipped.

    Source: `optax.per_example_global_norm_clip`; Abadi et al. (2016), arXiv:1607.00133.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> fastclip.optax.per_example_global_norm_clip([jnp.array([[3.0, 4.0], [0.0, 1.0]])], 2.5)
        ([Array([1.5, 3. ], dtype=float32)], Array(1, dtype=int32))
    """
    return _per_example_global_norm_clip(grads, l2_norm_clip)  # type: ignore[no-any-return]


def per_example_layer_norm_clip(grads: Any, global_l2_norm_clip: Any, uniform: bool = True) -> tuple[Any, Any]:
    """Clip the gradient of each example by its norm in each array and add the examples up, by optax.

    Args:
        grads: a tree of arrays whose first axis counts the examples.
        global_l2_norm_clip: the limit of all arrays together.
        uniform: whether each of them has the same share in it; else each has one by its size.

    Returns:
        The sums, and how many examples were clipped, for each array.

    Source: `optax.per_example_layer_norm_clip`; McMahan et al. (2018), arXiv:1710.06963.

    Example:
        >>> import jax.numpy as jnp, fastclip.optax
        >>> fastclip.optax.per_example_layer_norm_clip([jnp.array([[3.0, 4.0], [0.0, 1.0]])], 2.5)
        ([Array([1.5, 3. ], dtype=float32)], [Array(1, dtype=int32)])
    """
    return _per_example_layer_norm_clip(grads, global_l2_norm_clip, uniform)  # type: ignore[no-any-return]
