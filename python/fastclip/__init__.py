# SPDX-License-Identifier: BSD-3-Clause
"""Clip gradients fast and exactly: TensorFlow's clipping functions for lists of arrays, in place, in C++.

>>> import numpy as np, fastclip
>>> gradients = [np.array([3.0, 0.0], np.float32), np.array([4.0], np.float32)]
>>> fastclip.clip_by_global_norm_(gradients, 1.0)
5.0
>>> gradients
[array([0.6, 0. ], dtype=float32), array([0.8], dtype=float32)]
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from fastclip._api import (
    Measurement,
    clip,
    clip_by_average_norm,
    clip_by_average_norm_,
    clip_by_global_norm,
    clip_by_global_norm_,
    clip_by_norm,
    clip_by_norm_,
    clip_by_value,
    clip_by_value_,
    clip_gradients_by_norm,
    clip_update_by_global_norm_,
    global_norm,
    measure,
    norm,
)
from fastclip._config import VERSION as __version__
from fastclip._config import set_isa, set_num_threads, set_recycling, show_config
from fastclip._patch import patch

__all__ = [
    "Measurement",
    "__version__",
    "clip",
    "clip_by_average_norm",
    "clip_by_average_norm_",
    "clip_by_global_norm",
    "clip_by_global_norm_",
    "clip_by_norm",
    "clip_by_norm_",
    "clip_by_value",
    "clip_by_value_",
    "clip_gradients_by_norm",
    "clip_update_by_global_norm_",
    "global_norm",
    "measure",
    "norm",
    "patch",
    "set_isa",
    "set_num_threads",
    "set_recycling",
    "show_config",
]

_DROP_INS = ("cuda", "flwr", "keras", "numpy", "optax", "tensorflow", "thinc", "torch")

if not _TYPE_CHECKING:  # to a checker, a name that is in no module stays an error

    def __getattr__(name: str) -> _Any:
        """Import `fastclip.torch` and the like, and with them their framework, where they are first used."""
        if name not in _DROP_INS:
            raise AttributeError(f"module 'fastclip' has no attribute {name!r}")
        import importlib

        return importlib.import_module(f"fastclip.{name}")
