# SPDX-License-Identifier: BSD-3-Clause
"""NumPy with fastclip's `clip` and `linalg.norm`: write `import fastclip.numpy as np`.

Every other name is NumPy's own.

>>> import fastclip.numpy as np
>>> np.clip(np.array([-2.0, 0.5, 7.0]), -1, 1)
array([-1. ,  0.5,  1. ])
>>> float(np.linalg.norm(np.array([3e200, 4e200]))) / 1e200  # NumPy's own: inf
5.0
"""

from __future__ import annotations

import types
from typing import Any

import numpy as _numpy

from fastclip._api.clip import clip
from fastclip._api.norm import norm

__all__ = ["clip", "linalg"]


class _Linalg(types.ModuleType):
    """`numpy.linalg` with fastclip's norm."""

    norm = staticmethod(norm)

    def __getattr__(self, name: str) -> Any:
        return getattr(_numpy.linalg, name)

    def __dir__(self) -> list[str]:
        return dir(_numpy.linalg)


linalg = _Linalg("fastclip.numpy.linalg", _numpy.linalg.__doc__)


def __getattr__(name: str) -> Any:
    return getattr(_numpy, name)


def __dir__() -> list[str]:
    return dir(_numpy)
