# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow's C functions by address, for the native code to call: reading a tensor by them takes 0.04 us.

By the capsules that Python's functions make of it, which every TensorFlow has, it takes 0.37.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import tensorflow as tf

# In the order of csrc/bindings/eager_handles.cpp. The first two are C++: their names tell what they are called with, so
# that one which is called otherwise is not found.
NAMES = (
    "_Z18EagerTensor_HandlePK7_object",
    "_Z21EagerTensorFromHandleP16TFE_TensorHandleb",
    "TFE_TensorHandleDataType",
    "TFE_TensorHandleDevicePointer",
    "TFE_TensorHandleBackingDeviceName",
    "TFE_TensorHandleNumDims",
    "TFE_TensorHandleDim",
    "TFE_NewTensorHandleFromDeviceMemory",
    "TF_NewStatus",
    "TF_DeleteStatus",
    "TF_GetCode",
    "TF_Message",
)


def c_functions(library: str = "lib_pywrap_tensorflow_common.so") -> list[int]:
    """Return the addresses of all of them, or none where this TensorFlow has another layout."""
    try:
        loaded = ctypes.CDLL(str(Path(tf.__file__).parent / "python" / library))
        return [ctypes.cast(loaded[name], ctypes.c_void_p).value or 0 for name in NAMES]
    except (OSError, AttributeError, TypeError):  # TypeError: a namespace package, without a file
        return []
