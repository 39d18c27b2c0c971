# SPDX-License-Identifier: BSD-3-Clause
"""An optimizer of Keras's whose gradients are clipped by fastclip, whoever trains with it."""

from __future__ import annotations

import types
from typing import Any

import keras

from fastclip import _errors
from fastclip.keras._clip import clip_gradients, clips_as_keras

_LIMITS = ("clipnorm", "clipvalue", "global_clipnorm")


@keras.saving.register_keras_serializable(package="fastclip")
class Clipped(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Wrap a Keras optimizer so that its gradients are clipped, by fastclip where they have values.

    It is an optimizer, for `compile` and for loops of one's own. The wrapped one does the work: it clips after it has
    averaged accumulated gradients and divided by a loss scale, as Keras does. Its limit is set on it.

    Args:
        optimizer: a Keras optimizer; of a `LossScaleOptimizer` the inner one clips.
        clipnorm: the limit of each gradient's own norm.
        clipvalue: the bound of each element.
        global_clipnorm: the limit of the norm of all gradients together. Without any of the three the optimizer's
            own limit counts.
        name: of this optimizer.

    Raises:
        TypeError: `optimizer` is none of Keras's, or a `MultiOptimizer`, whose optimizers clip each for itself; or a
            limit is no number.
        ValueError: more than one limit is given, or another one than the optimizer has.

    Source: Keras 3.15's `clipnorm`, `clipvalue` and `global_clipnorm`.

    Example:
        >>> import keras, fastclip.keras
        >>> optimizer = fastclip.keras.Clipped(keras.optimizers.SGD(1.0), global_clipnorm=5.0)
        >>> weights = keras.Variable([0.0, 0.0])
        >>> optimizer.apply([keras.ops.array([24.0, 32.0])], [weights])
        >>> keras.ops.convert_to_numpy(keras.ops.add(weights, 0.0))
        array([-3., -4.], dtype=float32)
    """

    def __init__(
        self,
        optimizer: Any,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(
                f"Clipped: optimizer is of type {type(optimizer).__name__}; expected a Keras optimizer. "
                "fastclip.clip_gradients_by_norm takes others."
            )
        if isinstance(optimizer, getattr(keras.optimizers, "MultiOptimizer", ())):  # which ignores a limit
            raise TypeError(
                "Clipped: optimizer is a MultiOptimizer, whose optimizers clip each for itself; expected one of these. "
                "Wrap them in its map."
            )
        super().__init__(learning_rate=0.0, name=name)
        given = dict(zip(_LIMITS, (clipnorm, clipvalue, global_clipnorm), strict=True))
        self.inner_optimizer = optimizer
        self._set_limit({k: _errors.real("Clipped", k, value) for k, value in given.items() if value is not None})

    def _clips(self) -> Any:
        """Return the optimizer that is to clip: the one that gets gradients without a loss scale."""
        optimizer = self.inner_optimizer
        while isinstance(optimizer, (keras.optimizers.LossScaleOptimizer, Clipped)):
            optimizer = optimizer.inner_optimizer
        return optimizer

    def _set_limit(self, given: dict[str, float]) -> None:
        if len(given) > 1:
            raise ValueError(f"Clipped: {' and '.join(given)} are given; expected one of them.")
        optimizer = self._clips()
        has = {limit: value for limit in _LIMITS if (value := getattr(optimizer, limit)) is not None}
        if given and has and given != has:
            raise ValueError(f"Clipped: {given} is given, but the optimizer has {has}; make it without, or leave it.")
        for limit, value in given.items():
            setattr(optimizer, limit, value)
        if clips_as_keras(optimizer):
            optimizer._clip_gradients = types.MethodType(clip_gradients, optimizer)

    def build(self, variables: Any) -> None:
        """Make the wrapped optimizer's variables."""
        if self.built:
            return
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> Any:
        """Return this optimizer's variables and the wrapped one's."""
        return self._variables + self.inner_optimizer.variables

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Let the wrapped optimizer clip the gradients and apply them."""
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        return self.inner_optimizer.apply(grads, trainable_variables)

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """Do the same with variables that are given and returned."""
        count = len(self._variables)
        # A LossScaleOptimizer gives variables, and wants tensors.
        own = [keras.ops.convert_to_tensor(variable) for variable in optimizer_variables[:count]]
        trained, inner = self.inner_optimizer.stateless_apply(optimizer_variables[count:], grads, trainable_variables)
        return trained, [*own, *inner]

    def set_weights(self, weights: Any) -> None:
        """Set this optimizer's variables and the wrapped one's."""
        super().set_weights(weights)
        self.inner_optimizer.set_weights(weights[len(self._variables) :])

    @property
    def learning_rate(self) -> Any:
        """Return the wrapped optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """Return how many steps the wrapped optimizer has made."""
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self) -> Any:
        """Return by what the wrapped optimizer multiplies the loss and divides the gradients."""
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: Any) -> None:
        if hasattr(self, "inner_optimizer"):  # Keras's constructor sets it to None before
            self.inner_optimizer.loss_scale_factor = factor

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Keep the weight decay of the optimizer that clips from variables."""
        self._clips().exclude_from_weight_decay(var_list, var_names)

    def scale_loss(self, loss: Any) -> Any:
        """Scale a loss as the wrapped optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Set the variables to what the wrapped optimizer ends with."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs; the limit is in the wrapped optimizer's."""
        return {"name": self.name, "optimizer": keras.saving.serialize_keras_object(self.inner_optimizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Clipped:
        """Make one of what `get_config` has returned."""
        inner = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(inner, name=config["name"])
