# SPDX-License-Identifier: BSD-3-Clause
"""The named workloads: lists of shapes, their dtype, and the operations that are timed on them."""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
FloatArray = npt.NDArray[Any]  # of float16, ml_dtypes.bfloat16, float32 or float64

IN_PLACE = ("within", "clip", "value")  # by global norm within the limit; beyond it; by value
UPDATES = ("update_within", "update_clip")  # the difference of two lists, by its norm
CALLS = ("positional", "keywords")  # how np.clip is called
SCALE = 1e-2  # a gradient's usual size; far from both ends of the range, so that no peer meets a denormal


def dtype_of(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for a name; bfloat16 needs ml_dtypes."""
    if name == "bf16":
        bfloat16: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
        return bfloat16
    return np.dtype({"f16": np.float16, "f32": np.float32, "f64": np.float64}[name])


@dataclass(frozen=True)
class Workload:
    """Name a list of array shapes; `kind` decides which bars hold for it."""

    name: str
    kind: str  # "small", "cache", "memory", or "call" for a single NumPy call
    shapes: tuple[Shape, ...]
    operations: tuple[str, ...] = IN_PLACE
    dtype: str = "f32"  # or "f16", "bf16", "f64"
    besides: tuple[str, ...] = ()  # timed by `fastclip bench` alone: the ruler has no bar for them

    @property
    def timed(self) -> tuple[str, ...]:
        """Return all operations that are timed on it."""
        return self.operations + self.besides

    @property
    def itemsize(self) -> int:
        """Return the bytes of an element."""
        return {"f16": 2, "bf16": 2, "f32": 4, "f64": 8}[self.dtype]

    @property
    def elements(self) -> int:
        """Count the elements of all arrays."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def nbytes(self) -> int:
        """Count the bytes of all arrays."""
        return self.itemsize * self.elements

    @property
    def possible(self) -> bool:
        """Tell whether its dtype exists here."""
        return self.dtype != "bf16" or importlib.util.find_spec("ml_dtypes") is not None

    def arrays(self, seed: int = 0) -> list[FloatArray]:
        """Make the arrays, normally distributed, the same for the same seed."""
        rng = np.random.default_rng(seed)
        made = []
        for shape in self.shapes:
            array = np.asarray(rng.standard_normal(shape, dtype=np.float32))
            array *= np.float32(SCALE)
            made.append(array.astype(dtype_of(self.dtype), copy=False))
        return made


def _resnet50() -> tuple[Shape, ...]:
    shapes: list[Shape] = []

    def convolution(out: int, inp: int, kernel: int) -> None:  # each is followed by a batch norm
        shapes.extend([(out, inp, kernel, kernel), (out,), (out,)])

    convolution(64, 3, 7)
    inp = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            convolution(width, inp, 1)
            convolution(width, width, 3)
            convolution(4 * width, width, 1)
            if block == 0:
                convolution(4 * width, inp, 1)
            inp = 4 * width
    shapes.extend([(1000, 2048), (1000,)])
    return tuple(shapes)


def _gpt2() -> tuple[Shape, ...]:
    width = 768
    shapes: list[Shape] = [(50257, width), (1024, width)]
    for _ in range(12):
        shapes.extend([(width,), (width,)])
        shapes.extend([(width, 3 * width), (3 * width,), (width, width), (width,)])
        shapes.extend([(width,), (width,)])
        shapes.extend([(width, 4 * width), (4 * width,), (4 * width, width), (width,)])
    shapes.extend([(width,), (width,)])
    return tuple(shapes)


def _vit_b16() -> tuple[Shape, ...]:
    width = 768
    shapes: list[Shape] = [(1, 1, width), (1, 197, width), (width, 3, 16, 16), (width,)]
    for _ in range(12):
        shapes.extend([(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)])
        shapes.extend([(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)])
    shapes.extend([(width,), (width,), (1000, width), (1000,)])
    return tuple(shapes)


def _lstm(words: int, units: int, layers: int) -> tuple[Shape, ...]:
    """Shapes of a language model as in Zaremba et al. 2014, who clip its gradient's global norm to 5."""
    shapes: list[Shape] = [(words, units)]
    for _ in range(layers):
        shapes.extend([(4 * units, units), (4 * units, units), (4 * units,), (4 * units,)])
    shapes.extend([(words, units), (words,)])
    return tuple(shapes)


def _perceptron(*widths: int) -> tuple[Shape, ...]:  # rl_policy: one for the actor, one for the critic
    shapes: list[Shape] = []
    for inp, out in itertools.pairwise(widths):
        shapes.extend([(out, inp), (out,)])
    return tuple(shapes)


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("tiny_many", "small", ((64, 64), (64,)) * 50, (*IN_PLACE, "each")),
        Workload("rl_policy", "small", (*_perceptron(11, 64, 64, 3), *_perceptron(11, 64, 64, 1))),
        Workload("thousand_tens", "small", ((10,),) * 1000),
        Workload("cache_1mb", "cache", ((256, 256),) * 4),
        Workload("cache_4mb", "cache", ((512, 512),) * 4),
        Workload("cache_16mb", "cache", ((1024, 1024),) * 4),
        Workload("one64mb", "memory", ((1 << 24,),), (*IN_PLACE, "clip_out", "clip_new")),
        Workload("resnet50", "memory", _resnet50(), (*IN_PLACE, "clip_new", "each")),
        Workload("gpt2", "memory", _gpt2(), (*IN_PLACE, *UPDATES)),
        Workload("vit_b16", "memory", _vit_b16()),
        Workload("lstm_lm", "memory", _lstm(10_000, 650, 2)),
        Workload("resnet50_f64", "memory", _resnet50(), (), "f64", besides=("within", "clip")),
        Workload("gpt2_f16", "memory", _gpt2(), ("within", "clip"), "f16"),
        Workload("gpt2_bf16", "memory", _gpt2(), ("within", "clip"), "bf16"),
        Workload("rows64mb", "memory", ((4096, 4096),), ("rows",)),
        Workload(
            "mnist_examples",
            "memory",
            ((64, 256, 784), (64, 256), (64, 10, 256), (64, 10)),
            (),
            besides=("per_example",),
        ),
        Workload("clip_scalar", "call", ((),), (), besides=CALLS),
        *(Workload(f"clip_{n}", "call", ((n,),), CALLS) for n in (1, 10, 100, 1000)),
    )
}
