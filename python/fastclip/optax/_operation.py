# SPDX-License-Identifier: BSD-3-Clause
"""fastclip's verbs as operations of JAX: custom calls on one CPU, and everywhere else what optax does.

XLA compiles an operation to a custom call where it compiles for the CPU and one device. For another platform, for
several devices (whose parts of an array only XLA can bring together), under `vmap`, for derivatives and uncompiled it
is the operations of optax, in which XLA sees the maths.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from fastclip._config import xla_target

Verb = Callable[..., list[Any]]

# Newer releases lower an operation once for all its uses, out of sight of what it is applied to.
_IN_ITS_PLACE = {"cacheable": False} if "cacheable" in inspect.signature(mlir.register_lowering).parameters else {}


def operation(name: str, stock: Verb, results: Callable[..., Any]) -> Verb:
    """Make the operation `name` of a custom call and of optax's way to do the same.

    Both take arrays and return a list of arrays, which `results` tells the types of. Where these are those of all
    operands but the first, the custom call may work in place.
    """
    primitive = Primitive(f"fastclip_{name}")
    primitive.multiple_results = True
    primitive.def_abstract_eval(results)

    def program(*operands: Any) -> Any:
        # with arrays, not tracers, under jax.disable_jit and where jax.debug_nans looks for the NaN
        return (primitive.bind if isinstance(operands[0], jax.core.Tracer) else stock)(*operands)

    primitive.def_impl(jax.jit(program))

    def batch(operands: Sequence[Any], axes: Sequence[Any]) -> tuple[list[Any], list[int]]:
        out = jax.vmap(stock, in_axes=tuple(axes))(*operands)
        return out, [0] * len(out)

    def differentiate(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        return jax.jvp(stock, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))

    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = differentiate
    lower = mlir.lower_fun(stock, multiple_results=True)
    target = xla_target(name)
    if target is not None:
        jax.ffi.register_ffi_target(primitive.name, target, platform="cpu")
        lower = functools.partial(_lower, primitive.name, lower)
    mlir.register_lowering(primitive, lower, **_IN_ITS_PLACE)
    return primitive.bind  # type: ignore[no-any-return]


def _lower(name: str, lower_stock: Any, context: Any, *operands: Any) -> Any:
    module = context.module_context
    if tuple(module.platforms) != ("cpu",) or getattr(module.axis_context, "num_devices", 0) != 1:
        return lower_stock(context, *operands)
    aliases = {}
    if context.avals_in[1:] == context.avals_out and not any(map(_is_kept, operands[1:])):
        aliases = {i + 1: i for i in range(len(operands) - 1)}
    return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(context, *operands)


def _is_kept(value: Any) -> bool:
    """Tell whether an array is an input of the program that stays its caller's.

    To work on that in place XLA would copy it first, which for 100 small arrays takes as long as all the rest. What
    else the program has at hand is overwritten: gradients that it has just computed, inputs that were donated.
    """
    block = value.owner
    if not isinstance(block, mlir.ir.Block):
        return False
    attributes = block.owner.attributes
    if "sym_name" not in attributes or attributes["sym_name"].value != "main":
        return False
    if "arg_attrs" not in attributes:
        return True
    given = attributes["arg_attrs"][value.arg_number]
    return "jax.buffer_donor" not in given and "tf.aliasing_output" not in given
