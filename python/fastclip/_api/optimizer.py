# SPDX-License-Identifier: BSD-3-Clause
"""Clipping wrapped round an optimizer, between the gradients and their use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from fastclip import _errors
from fastclip._api.global_norm import clip_by_global_norm, clip_by_global_norm_


def _is(value: Any, module: str, path: str) -> bool:
    """Tell whether a value is of a framework's type; one that was never imported has no such values."""
    kind: Any = sys.modules.get(module)
    for name in path.split("."):
        kind = getattr(kind, name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _clip_for(variables: list[Any]) -> Callable[..., Any]:
    """Return what clips gradients of such variables."""
    if any(_is(variable, "tensorflow", "Variable") for variable in variables):
        from fastclip import tensorflow

        return tensorflow.clip_by_global_norm
    return clip_by_global_norm


class _Clipped:
    """An optimizer that clips first. Everything else is the wrapped one's."""

    def __init__(self, optimizer: Any, clip_norm: float) -> None:
        self._optimizer = optimizer
        self._clip_norm = clip_norm

    def __getattr__(self, name: str) -> Any:
        if name == "_optimizer":  # not set yet, in copy and pickle
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_optimizer", "_clip_norm"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._optimizer, name, value)

    def __repr__(self) -> str:
        return f"clip_gradients_by_norm({self._optimizer!r}, {self._clip_norm!r})"


class _ClippedApply(_Clipped):
    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *args: Any, **kwargs: Any) -> Any:
        """Clip the gradients by their global norm, into new arrays, and apply them."""
        pairs = list(grads_and_vars)
        variables = [variable for _, variable in pairs]
        gradients, _ = _clip_for(variables)([gradient for gradient, _ in pairs], self._clip_norm)
        return self._optimizer.apply_gradients(list(zip(gradients, variables, strict=True)), *args, **kwargs)


class _ClippedStep(_Clipped):
    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Clip every parameter's `grad` by the global norm, in place, and step."""
        if closure is None:
            self._clip()
            return self._optimizer.step(**kwargs)
        return self._optimizer.step(lambda: self._clip_after(closure), **kwargs)

    def _clip_after(self, closure: Callable[[], Any]) -> Any:
        loss = closure()  # computes the gradients
        self._clip()
        return loss

    def _clip(self) -> None:
        gradients = [p.grad for group in self._optimizer.param_groups for p in group["params"]]
        clip_by_global_norm_(gradients, self._clip_norm)


def clip_gradients_by_norm(optimizer: Any, clip_norm: float) -> Any:
    """Wrap an optimizer so that it clips its gradients by their global norm before it uses them.

    The wrapper has every attribute of the optimizer. As in TensorFlow 1's `tf.contrib.estimator`, whose name this
    is, the norm is that of all gradients together.

    Args:
        optimizer: an object with `apply_gradients(grads_and_vars)` (TensorFlow 1 and Keras style; gradients are
            clipped into new arrays, None and IndexedSlices-like entries are kept), PyTorch's, TensorFlow 1's and
            Keras's, which become a `fastclip.torch.ClippedOptimizer`, a `fastclip.tensorflow.ClippedOptimizer` and a
            `fastclip.keras.Clipped`, or one with `step()` and `param_groups` (each parameter's `grad`, an
            array or None, is clipped in place).
        clip_norm: the limit, >= 0; infinity clips nothing.

    Raises:
        TypeError: the optimizer has neither form, or `clip_norm` is no number.
        ValueError: `clip_norm` is negative or NaN, or 0 for one of Keras's, which takes that for no limit.

    Example:
        >>> import numpy as np, fastclip
        >>> class Descent:
        ...     def apply_gradients(self, grads_and_vars):
        ...         for g, v in grads_and_vars:
        ...             v -= g
        >>> weights = np.zeros(2)
        >>> fastclip.clip_gradients_by_norm(Descent(), 5.0).apply_gradients([(np.array([30.0, 40.0]), weights)])
        >>> weights
        array([-3., -4.])
    """
    limit = _errors.limit("clip_gradients_by_norm", "clip_norm", clip_norm)
    if _is(optimizer, "torch", "optim.Optimizer"):
        from fastclip.torch import _wrapper

        return _wrapper.clip_gradients_by_norm(optimizer, limit)
    if _is(optimizer, "tensorflow", "compat.v1.train.Optimizer"):
        from fastclip import tensorflow

        return tensorflow.ClippedOptimizer(optimizer, limit)
    if _is(optimizer, "keras", "optimizers.Optimizer"):
        from fastclip import keras

        if limit == 0.0:
            raise ValueError(
                "clip_gradients_by_norm: clip_norm is 0.0, which Keras takes for no limit; expected a number above 0."
            )
        return keras.Clipped(optimizer, global_clipnorm=limit)
    if callable(getattr(optimizer, "apply_gradients", None)):
        return _ClippedApply(optimizer, limit)
    if callable(getattr(optimizer, "step", None)) and hasattr(optimizer, "param_groups"):
        return _ClippedStep(optimizer, limit)
    raise TypeError(
        f"clip_gradients_by_norm: optimizer is {_errors.show(optimizer)}; expected one with apply_gradients(), "
        "or with step() and param_groups."
    )
