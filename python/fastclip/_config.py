# SPDX-License-Identifier: BSD-3-Clause
"""Which backend, ISA, threads and memory: the environment decides at import, functions afterwards."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastclip._backends import Backend
from fastclip._backends.reference import Reference

try:
    from fastclip import _core as core
except ImportError as error:
    # Not there: the package was installed without native code. There, but broken: that must not pass in silence.
    if "fastclip._core" not in str(error) and "'_core'" not in str(error):
        raise
    core = None  # type: ignore[assignment]

#: imports a DLPack capsule; None: NumPy must
from_dlpack = core.from_dlpack if core is not None else None


def xla_target(name: str) -> Any:
    """Return the native verb that XLA calls under this name, a capsule; None where nothing is native."""
    return getattr(core, f"xla_{name}", None) if backend.name == "native" else None


#: calls that went to NumPy because no backend has the operation
delegated = {"calls": 0}


def _choose_backend() -> Backend:
    built = ["native", "reference"] if core is not None else ["reference"]
    name = os.environ.get("FASTCLIP_BACKEND") or built[0]
    if name not in built:
        why = "" if core is not None else " (this installation has no native code)"
        raise ValueError(f"FASTCLIP_BACKEND={name}, but there are: {', '.join(built)}{why}.")
    if name == "native":
        from fastclip._backends.cpu import Native

        return Native()
    return Reference()


def set_isa(name: str) -> None:
    """Choose the instruction set of the native kernels; all give the same bits.

    Args:
        name: one of `show_config()["isas"]`, such as "baseline", "avx2" or "avx512".

    Raises:
        ValueError: the ISA is unknown, or this CPU does not have it.

    Example:
        >>> import fastclip
        >>> fastclip.set_isa(fastclip.show_config()["isas"][-1])
    """
    _use_isa("set_isa: name", name)


def _use_isa(source: str, name: str) -> None:
    choices = core.supported_isas() if core is not None else ("none",)
    if name not in choices:
        raise ValueError(f"{source}={name}, but this CPU has: {', '.join(choices)}. Choose one of these.")
    if core is not None:
        core.set_isa(name)


def set_num_threads(n: int) -> None:
    """Set how many threads, the calling one included, large lists are shared out to.

    The default is the number of CPUs that the process may run on, or `FASTCLIP_NUM_THREADS`. Results do not depend
    on it. The reference backend has one thread and takes no notice.

    Args:
        n: at least 1; more than 256 counts as 256.

    Raises:
        TypeError: `n` is no integer.
        ValueError: `n` is below 1.

    Example:
        >>> import fastclip
        >>> fastclip.set_num_threads(1)
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"set_num_threads: n is {n!r}; expected an integer >= 1.")
    _use_threads("set_num_threads: n", int(n))


def _use_threads(source: str, n: int) -> None:
    if n < 1:
        raise ValueError(f"{source}={n}; expected an integer >= 1.")
    if core is not None:
        core.set_num_threads(min(n, 256))


def set_recycling(max_bytes: int) -> None:
    """Set how many bytes of freed results are kept for the next results, which then need no fresh pages.

    Results are recycled when the last reference to one is gone and a later one fits its place; what nobody wanted for
    five seconds goes back to the system at the next call. The default is 1 GiB or a sixteenth of the machine's memory,
    whichever is less, or `FASTCLIP_RECYCLING`. The reference backend leaves memory to NumPy and takes no notice.

    Args:
        max_bytes: at least 0, which keeps nothing and gives back what was kept.

    Raises:
        TypeError: `max_bytes` is no integer.
        ValueError: `max_bytes` is negative.

    Example:
        >>> import fastclip
        >>> before = fastclip.show_config()["recycling"]["limit"]
        >>> fastclip.set_recycling(0)
        >>> fastclip.show_config()["recycling"]
        {'limit': 0, 'kept': 0}
        >>> fastclip.set_recycling(before)
    """
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, (int, np.integer)):
        raise TypeError(f"set_recycling: max_bytes is {max_bytes!r}; expected an integer >= 0.")
    _use_recycling("set_recycling: max_bytes", int(max_bytes))


def _use_recycling(source: str, max_bytes: int) -> None:
    if max_bytes < 0:
        raise ValueError(f"{source}={max_bytes}; expected an integer >= 0.")
    if core is not None:
        core.set_recycling(min(max_bytes, 2**62))


def show_config() -> dict[str, Any]:
    """Return what fastclip runs on: backend, ISA, threads, versions, and how many calls were native.

    `calls["native"]` counts the calls that the native kernels served, `calls["reference"]` those of the reference
    backend, and `calls["delegated"]` those handed to NumPy because fastclip has no kernel for the case. `recycling`
    tells how many bytes of freed results may be kept, and how many are.

    Example:
        >>> import fastclip
        >>> list(fastclip.show_config())[:5]
        ['version', 'backend', 'isa', 'isas', 'isas_compiled']
    """
    native = backend.name == "native"
    note = "" if native else "no native code: everything runs on NumPy, many times slower"
    if core is not None and not native:
        note = "FASTCLIP_BACKEND=reference: everything runs on NumPy, many times slower"
    return {
        "version": VERSION,
        "backend": backend.name,
        "isa": core.isa() if native else "none",
        "isas": core.supported_isas() if core is not None else ("none",),
        "isas_compiled": core.compiled_isas() if core is not None else ("none",),
        "threads": core.num_threads() if native else 1,
        "compiler": core.compiler if core is not None else "none",
        "flags": core.flags if core is not None else "",
        "commit": core.commit if core is not None else "",
        "numpy": np.__version__,
        "recycling": dict(zip(("limit", "kept"), core.recycling() if native else (0, 0), strict=True)),
        "calls": {
            "native": backend.calls() if native else 0,
            "reference": 0 if native else backend.calls(),
            "delegated": delegated["calls"],
        },
        "note": note,
    }


def _read_environment() -> None:
    isa = os.environ.get("FASTCLIP_ISA")
    if isa:
        _use_isa("FASTCLIP_ISA", isa)
    threads = os.environ.get("FASTCLIP_NUM_THREADS")
    if threads:
        if not threads.strip().isdecimal():
            raise ValueError(f"FASTCLIP_NUM_THREADS={threads}; expected an integer >= 1.")
        _use_threads("FASTCLIP_NUM_THREADS", int(threads))
    recycling = os.environ.get("FASTCLIP_RECYCLING")
    if recycling:
        if not recycling.strip().isdecimal():
            raise ValueError(f"FASTCLIP_RECYCLING={recycling}; expected a number of bytes, an integer >= 0.")
        _use_recycling("FASTCLIP_RECYCLING", int(recycling))


VERSION = "0.1.0"
backend = _choose_backend()
_read_environment()
