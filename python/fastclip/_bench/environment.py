# SPDX-License-Identifier: BSD-3-Clause
"""What the numbers depend on: the machine, the versions, the commit."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastclip._bench.limit import usable_cores
from fastclip._bench.peers import versions
from fastclip._bench.report.formats import cache_bytes

CORES = Path("/sys/devices/system/cpu")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _caches(core: int) -> Iterator[tuple[str, str, str]]:
    """Yield for each cache of a core, the smallest first, its name, its size and the cores that share it."""
    for index in sorted((CORES / f"cpu{core}/cache").glob("index*")):
        if not (index / "size").exists():  # some virtual machines and arm64 boards do not tell
            continue
        words = ((index / name).read_text().strip() for name in ("level", "type", "size", "shared_cpu_list"))
        level, kind, size, shared = words
        yield f"L{level}{'' if kind == 'Unified' else kind[0].lower()}", size, shared


def caches() -> dict[str, str]:
    """Return the size of each cache of a core by its name, such as "L1d": "32K"."""
    return {name: size for name, size, _ in _caches(usable_cores()[0])}


def last_level_bytes() -> int:
    """Return what the last caches of all usable cores hold together, 0 where nobody knows."""
    found = {}
    for core in usable_cores():
        for _, size, shared in list(_caches(core))[-1:]:
            found[shared] = cache_bytes(size)
    return sum(found.values())


def _huge_pages() -> str | None:
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.exists():
        return None
    return next(word.strip("[]") for word in path.read_text().split() if word.startswith("["))


def environment(peers: Sequence[str]) -> dict[str, Any]:
    """Return a record for the JSON: machine, compiler, versions, commit, threads, load."""
    record: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": len(usable_cores()),
        "caches": caches(),
        "huge_pages": _huge_pages(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(peers),
        "load_average": os.getloadavg(),
    }
    if "fastclip" in peers:
        record["fastclip"] = importlib.import_module("fastclip").show_config()
    if "torch" in peers:
        record["torch_threads"] = importlib.import_module("torch").get_num_threads()
    return record
