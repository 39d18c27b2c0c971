# SPDX-License-Identifier: BSD-3-Clause
"""CuPy, and the kernels compiled with it: at the first GPU array, once for each device, whatever the threads do."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from fastclip._backends.cuda.source import DYNAMIC, MODULES, OPTIONS, source

_lock = threading.Lock()
_modules: dict[tuple[int, str], Any] = {}  # CuPy would find one by its whole text
_kernels: dict[tuple[int, str, int], Any] = {}


def kernel(cp: Any, name: str, device: int) -> Any:
    """Return a kernel for the current device alone: to find that out would take CuPy a while at each launch."""
    key = (id(cp), name, device)
    found = _kernels.get(key)
    if found is None:
        with _lock:
            module = next(module for module, names in MODULES.items() if name in names)
            compiled = _modules.get((id(cp), module))
            if compiled is None:
                compiled = _modules[id(cp), module] = cp.RawModule(code=source(module), options=OPTIONS)
            compiled.compile()
            function = compiled.get_function(name)
            if name in DYNAMIC:  # 48 KB is what a block has that asks for no more
                function.max_dynamic_shared_size_bytes = attribute(cp, device, SHARED)
            found = _kernels[key] = function.kernel if _takes_void(cp) else _with_arrays(function.kernel)
    return found


def _takes_void(cp: Any) -> bool:
    major, minor, *_ = cp.__version__.split(".")
    return (int(major), int(minor)) >= (14, 1)


def _with_arrays(launch: Any) -> Any:
    """Hand structures to CuPy before 14.1, which takes no `void`, as arrays without fields: 1.3 us more for each."""

    def launched(grid: Any, block: Any, arguments: tuple[Any, ...], **how: Any) -> None:
        launch(grid, block, tuple(np.asarray(a).view(f"V{a.nbytes}") for a in arguments), **how)

    return launched


class _Handle:
    """A stream of others, as CUDA's stream protocol hands it on."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle  # the protocol's version


def stream(cp: Any, handle: int) -> Any:
    """Take a stream that others made; CuPy 14 deprecates what CuPy 13 has for it, and a warning may be an error."""
    if hasattr(cp.cuda.Stream, "from_external"):
        return cp.cuda.Stream.from_external(_Handle(handle))
    return cp.cuda.ExternalStream(handle)


#: CUDA's numbers of a device's attributes: how many multiprocessors, the first part of the compute capability, and the
#: bytes of shared memory that a block can have
MULTIPROCESSORS, MAJOR, SHARED = 16, 75, 97


def attribute(cp: Any, device: int, which: int) -> int:
    """Return one of them; `Device.attributes` asks for a hundred numbers to give one."""
    return int(cp.cuda.runtime.deviceGetAttribute(which, device))
