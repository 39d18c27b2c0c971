# SPDX-License-Identifier: BSD-3-Clause
"""Clipping wrapped round one of TensorFlow 1's optimizers, between the gradients and their use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from fastclip.tensorflow._global_norm import clip_by_global_norm


class ClippedOptimizer(tf.compat.v1.train.Optimizer):  # type: ignore[misc]
    """Wrap an optimizer of `tf.compat.v1.train` so that it clips gradients by their global norm before it applies them.

    It is one itself: `minimize`, `compute_gradients`, `apply_gradients`, slots and variables are the wrapped one's, in
    a graph and eagerly.

    Args:
        optimizer: what computes and applies the gradients.
        clip_norm: the limit, a number or a tensor, as for `clip_by_global_norm`.

    Source: TensorFlow 1's `tf.contrib.estimator.clip_gradients_by_norm`, whose norm, too, is that of all gradients.

    Example:
        >>> import tensorflow as tf, fastclip.tensorflow
        >>> weights = tf.Variable([0.0, 0.0])
        >>> descent = tf.compat.v1.train.GradientDescentOptimizer(1.0)
        >>> clipped = fastclip.tensorflow.ClippedOptimizer(descent, 5.0)
        >>> _ = clipped.apply_gradients([(tf.constant([24.0, 32.0]), weights)])
        >>> weights.numpy()
        array([-3., -4.], dtype=float32)
    """

    def __init__(self, optimizer: Any, clip_norm: Any) -> None:
        super().__init__(use_locking=False, name="ClipByNorm" + optimizer.get_name())
        self._optimizer = optimizer
        self._clip_norm = clip_norm

    def compute_gradients(self, *args: Any, **kwargs: Any) -> Any:
        """Compute gradients as the wrapped optimizer does."""
        return self._optimizer.compute_gradients(*args, **kwargs)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Any = None, name: str | None = None
    ) -> Any:
        """Clip the gradients by their global norm and let the wrapped optimizer apply them."""
        pairs = list(grads_and_vars)
        clipped, _ = clip_by_global_norm([gradient for gradient, _ in pairs], self._clip_norm)
        variables = [variable for _, variable in pairs]
        return self._optimizer.apply_gradients(list(zip(clipped, variables, strict=True)), global_step, name)

    def get_slot(self, *args: Any, **kwargs: Any) -> Any:
        """Return a slot of the wrapped optimizer's."""
        return self._optimizer.get_slot(*args, **kwargs)

    def get_slot_names(self, *args: Any, **kwargs: Any) -> Any:
        """Return the names of the wrapped optimizer's slots."""
        return self._optimizer.get_slot_names(*args, **kwargs)

    def variables(self) -> Any:
        """Return the wrapped optimizer's variables."""
        return self._optimizer.variables()

    # In a tf.train.Checkpoint this is the wrapped one, whose checkpoints with and without the wrapper are the same.

    def _trackable_children(self, *args: Any, **kwargs: Any) -> Any:
        return self._optimizer._trackable_children(*args, **kwargs)

    def _lookup_dependency(self, *args: Any, **kwargs: Any) -> Any:
        return self._optimizer._lookup_dependency(*args, **kwargs)

    @property
    def _deferred_dependencies(self) -> Any:  # what is read from a checkpoint before it is made
        self._optimizer._maybe_initialize_trackable()
        return self._optimizer._deferred_dependencies

    def _create_or_restore_slot_variable(self, *args: Any, **kwargs: Any) -> Any:
        return self._optimizer._create_or_restore_slot_variable(*args, **kwargs)

    def __repr__(self) -> str:
        return f"ClippedOptimizer({self._optimizer!r}, {self._clip_norm!r})"
