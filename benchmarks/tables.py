# SPDX-License-Identifier: BSD-3-Clause
"""The tables of docs/performance.md: which rows of the ruler stand in which, and what they are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastclip._bench.cases import UPDATES


@dataclass(frozen=True)
class Group:
    """Name the rows that share a table, and say what they are measured against."""

    title: str
    text: str
    operations: tuple[str, ...]
    dtypes: tuple[str, ...] = ("f32",)
    ours: str = "fastclip"
    against: tuple[str, ...] = ("limit", "streams", "numpy", "torch")

    def rows(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Pick its rows."""
        return [
            row
            for row in operations
            if row["operation"] in self.operations
            and row["dtype"] in self.dtypes
            and row.get("ours", "fastclip") == self.ours
        ]


GROUPS = (
    Group(
        "In place, float32",
        "The limit is a loop that reads (within the limit), one that also writes back (by value), the sum of both\n"
        "(clipping). *NumPy* is `np.dot`, a square root and `np.multiply(out=)` if it is needed; `np.clip(out=)` by\n"
        "value. *PyTorch* is `clip_grad_norm_` and `clip_grad_value_` on the same memory.",
        ("within", "clip", "value"),
    ),
    Group(
        "PyTorch's functions",
        "`clip_grad_norm_` and `clip_grad_value_` of `fastclip.torch`, given a list of parameters, over PyTorch's own\n"
        "on the same memory and over the same limits.",
        ("within", "clip", "value"),
        ours="fastclip.torch",
    ),
    Group(
        "TensorFlow's functions",
        "`clip_by_global_norm`, `clip_by_value` and `clip_by_norm` of `fastclip.tensorflow`, called eagerly,\n"
        "over TensorFlow's own, called eagerly and in a graph; each in a process of its own on equal data. The\n"
        "limits are those in place.",
        ("within", "clip", "value", "each"),
        ours="fastclip.tensorflow",
        against=("limit", "tensorflow", "tf.function"),
    ),
    Group(
        "optax's transformations, given arrays to keep",
        "`clip_by_global_norm` and `clip` of `fastclip.optax` over optax's own, each compiled by `jax.jit` in a\n"
        "process of its own. The results are new arrays, whose memory XLA allocates for both.",
        ("within", "clip", "value"),
        ours="fastclip.optax",
        against=("limit", "optax"),
    ),
    Group(
        "optax's transformations, given arrays to overwrite",
        "The same with donated arguments, as inside a compiled training step.",
        ("within", "clip", "value"),
        ours="fastclip.optax donated",
        against=("limit", "optax donated"),
    ),
    Group(
        "Flower's functions",
        "`clip_inputs_inplace` and, for an update, `compute_clip_model_update` of `fastclip.flwr` over Flower's own.",
        ("within", "clip", *UPDATES),
        ours="fastclip.flwr",
        against=("limit", "numpy", "flower"),
    ),
    Group(
        "thinc's clipping",
        "`clip_gradient` of `fastclip.thinc`, called for one array after the other, over thinc's own. The limit is\n"
        "one loop that reads and writes back.",
        ("each",),
        ours="fastclip.thinc",
        against=("limit", "numpy", "thinc"),
    ),
    Group(
        "In place, float16 and bfloat16",
        "The same limits for half the bytes. *PyTorch* is `clip_grad_norm_` on the same memory; NumPy has no idiom.",
        ("within", "clip"),
        ("f16", "bf16"),
    ),
    Group(
        "Into new arrays",
        "`clip_by_global_norm`, whose results are dropped at once, so that the next call finds their memory. The\n"
        "limit is the sum of a loop that reads and one that copies past the cache. *NumPy* and *PyTorch* are their\n"
        "norm and `[g * factor for g in gradients]`.",
        ("clip_new",),
    ),
    Group(
        "NumPy's clip, into the array itself",
        "The limit is a loop that reads and writes back. *NumPy* is `np.clip(out=)`, *PyTorch* is `clamp_`.",
        ("clip_out",),
    ),
    Group(
        "NumPy's clip, a few elements",
        "One call with numbers for bounds, which makes a new array. *NumPy* is `np.clip`, called the same way.",
        ("positional", "keywords"),
    ),
    Group(
        "Each array by its own norm",
        "`clip_by_norm_` of a list. *NumPy* is its idiom above, and *PyTorch* `clip_grad_norm_`, for each array.",
        ("each",),
    ),
    Group(
        "An update",
        "`clip_update_by_global_norm_`: the difference of two lists by its norm, over Flower's\n"
        "`compute_clip_model_update`, which makes two new arrays of each.",
        UPDATES,
        against=("flower",),
    ),
    Group(
        "By rows",
        "`clip_by_norm_(a, limit, axes=1)`, every row beyond it. The memory's limit is a loop that reads and writes\n"
        "back. *NumPy* is `np.linalg.norm(axis=1)` and `np.multiply(out=)`, *PyTorch* is `renorm_`.",
        ("rows",),
    ),
)
