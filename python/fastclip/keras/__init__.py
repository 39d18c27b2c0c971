# SPDX-License-Identifier: BSD-3-Clause
"""Keras 3's clipping, faster where it runs eagerly: its optimizers' limits, and the functions behind them.

>>> import keras, fastclip.keras
>>> optimizer = fastclip.keras.Clipped(keras.optimizers.Adam(1e-3), global_clipnorm=1.0)
"""

from __future__ import annotations

from fastclip import _errors

with _errors.importing("fastclip.keras", "keras"):
    import keras as _keras  # noqa: F401

from fastclip.keras._clip import clip_by_global_norm, clip_gradients, global_norm
from fastclip.keras._optimizer import Clipped

__all__ = ["Clipped", "clip_by_global_norm", "clip_gradients", "global_norm"]
