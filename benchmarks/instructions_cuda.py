# SPDX-License-Identifier: BSD-3-Clause
"""A model of the CUDA kernels' speed from their machine code: whether memory, or what is done to its bytes, is slower.

    python benchmarks/instructions_cuda.py             the table, from benchmarks/results/instructions_cuda.json
    python benchmarks/instructions_cuda.py --update    compiles, counts, writes that file and the table in docs/gpu.md

It needs no GPU: NVIDIA's run-time compiler and disassembler are packages of the extra `test`. No kernel is timed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.sass import Instruction, hot_trip
from fastclip._backends.cuda import columns
from fastclip._backends.cuda.chunks import WARPS
from fastclip._backends.cuda.plan import BLOCKS
from fastclip._backends.cuda.source import MODULES, OPTIONS, source

_ROOT = Path(__file__).resolve().parents[1]
RESULT = _ROOT / "benchmarks" / "results" / "instructions_cuda.json"
PAGE = _ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- model:begin -->", "<!-- model:end -->"

DTYPES = {"f32": "kF32", "f16": "kF16", "bf16": "kBF16", "f64": "kF64"}
VECTOR = 16 * 32  # bytes that a warp loads or stores with one instruction
ISSUED = 4  # warps' instructions a clock, of a multiprocessor
#: where a kernel finds out the dtype; each is compiled for one alone, so that it has but one loop to be found
_PIN = "void with_dtype(u32 dtype, F&& f) {"


@dataclass(frozen=True)
class Chip:
    """What a chip can do, from NVIDIA's data sheets, but for `conversions`: f64's, lanes a clock of a multiprocessor.

    The CUDA Programming Guide has 16 of these for compute capability 7.0, and as many as f64 operations where these
    are 2. The same is assumed of the later chips.
    """

    name: str
    arch: int
    multiprocessors: int
    ghz: float
    bandwidth: float  # TB/s
    f64: float  # Tflop/s without tensor cores, two for each multiplication with addition
    conversions: float

    @property
    def bytes(self) -> float:
        """What memory moves in a clock, for each multiprocessor."""
        return self.bandwidth * 1e3 / self.multiprocessors / self.ghz

    @property
    def f64_lanes(self) -> float:
        """Operations of f64 in a clock of a multiprocessor."""
        return self.f64 * 1e3 / 2 / self.multiprocessors / self.ghz


COPY = 4.3  # TB/s that a copy is expected to reach on an H200, of the data sheet's 4.8
CHIPS = (
    Chip("H200", 90, 132, 1.98, COPY, 34.0, 16.0),
    Chip("A100", 80, 108, 1.41, 2.039, 9.7, 16.0),
    Chip("B200", 100, 148, 1.965, 8.0, 37.0, 16.0),
    Chip("RTX 4090", 89, 128, 2.52, 1.008, 1.29, 2.0),
)


@dataclass(frozen=True)
class Warps:
    """Warps that do the same; arguments of `hot_trip`."""

    count: int
    trips: dict[str, int]
    avoided: str = ""


@dataclass(frozen=True)
class Kernel:
    """A kernel in one of its uses."""

    title: str
    module: str
    name: str
    warps: tuple[Warps, ...] = (Warps(1, {}),)
    resident: int = WARPS * BLOCKS  # warps of a multiprocessor


_TREE = {"SHFL": 5}  # shuffles add 16, 8, 4, 2, 1 lanes
_UNALIGNED = r"LDG\.E(\.U16|\.64)?(\.CONSTANT)?"  # elements before the first vector and behind the last
_ROOTS = f"{_UNALIGNED}|MUFU.*"  # what the verdict on a row above the limit takes, beside them
_CLIPS = rf"{_ROOTS}|STG.*|F2F\.F32\.F64"  # and where it is applied, the coefficient as f32


def _rows(warps: int, title: str, first: str, others: str) -> Kernel:
    """Describe rows of 2 KB for each of a block's warps, and what these avoid."""
    name = f"rows_{warps}_warps"
    merges = _TREE | {"LDS": warps - 1}  # the first thread adds what the other warps have left in shared memory
    return Kernel(f"`{name}`, {title}", "rows", name, (Warps(1, merges, first), Warps(warps - 1, _TREE, others)))


KERNELS = (
    Kernel("`norm_list`", "reduce", "norm_list"),
    Kernel("`scale`", "transform", "scale"),
    Kernel("`clamp`", "transform", "clamp"),
    Kernel("`measure`", "measure", "measure"),
    Kernel("`norm_columns`", "columns", "norm_columns", resident=WARPS * columns.BLOCKS),
    Kernel("`scale_columns`", "columns", "scale_columns", resident=WARPS * columns.BLOCKS),
    Kernel("`rows_warp`, none clipped", "rows", "rows_warp", (Warps(1, _TREE, _CLIPS),)),
    Kernel("`rows_warp`, all clipped", "rows", "rows_warp", (Warps(1, _TREE, _UNALIGNED),)),
    _rows(2, "none clipped", _CLIPS, _CLIPS),
    _rows(2, "all clipped", _UNALIGNED, _ROOTS),
    _rows(8, "none clipped", _CLIPS, _CLIPS),
    _rows(8, "all clipped", _UNALIGNED, _ROOTS),
    Kernel("`rows_shared`, read", "rows_shared", "rows_shared", resident=20),  # `rows.way` has 20 to 32
    Kernel("`weighted_sum`", "per_example", "weighted_sum"),
)


def digest() -> str:
    """Identify the kernels' text; comments don't count."""
    texts = (source(module) for module in sorted({kernel.module for kernel in KERNELS}))
    code = (" ".join(re.sub(r"//.*|^#line.*", "", text, flags=re.MULTILINE).split()) for text in texts)
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def nvrtc() -> ModuleType:
    """Load what the tests compile and disassemble with."""
    path = _ROOT / "tests" / "cuda" / "nvrtc.py"
    spec = importlib.util.spec_from_file_location("nvrtc", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(module: str, arch: int, dtype: str) -> dict[str, str]:
    """Compile one module for one dtype; return the machine code of each kernel."""
    text = source(module)
    if text.count(_PIN) != 1:
        raise ValueError(f"{module}: expected {_PIN!r} once")
    tools = nvrtc()
    options = (*OPTIONS, *tools.CUPY, f"-arch=sm_{arch}")
    cubin, _ = tools.compiler_for(arch).compile(text.replace(_PIN, f"{_PIN} dtype = {DTYPES[dtype]};"), options)
    found: dict[str, str] = tools.disassemble(cubin)
    return found


def count(kernel: Kernel, code: str) -> dict[str, Any]:
    """Count what the warps issue in a trip, by unit, and the bytes that they move."""
    opcodes: Counter[str] = Counter()
    for warps in kernel.warps:
        trip = hot_trip(code, warps.trips, warps.avoided)
        opcodes += Counter({opcode: n * warps.count for opcode, n in trip.items()})
    units: Counter[str] = Counter()
    for opcode, n in opcodes.items():
        units[Instruction(opcode, False, None).unit] += n
    loads, stores = (sum(n for o, n in opcodes.items() if o.startswith(name)) for name in ("LDG.E.128", "STG.E.128"))
    return {
        "kernel": kernel.title,
        "warps": sum(warps.count for warps in kernel.warps),
        "loads": loads,
        "stores": stores,
        "instructions": dict(sorted(units.items())),
    }


def compilation() -> dict[str, float]:
    """Time what the first call of a kernel waits for, where CuPy has none on disk: seconds for each module."""
    tools, seconds = nvrtc(), {}
    options = (*OPTIONS, *tools.CUPY, f"-arch=sm_{CHIPS[0].arch}")
    for module in MODULES:
        before = time.perf_counter()
        tools.compiler_for(CHIPS[0].arch).compile(source(module), options)
        seconds[module] = round(time.perf_counter() - before, 2)
    return seconds


def measure() -> dict[str, Any]:
    """Compile and count for every chip and dtype."""
    rows = []
    for chip in CHIPS:
        for dtype in DTYPES:
            code: dict[str, str] = {}
            for module in {kernel.module for kernel in KERNELS}:
                code |= compiled(module, chip.arch, dtype)
            rows += [{"arch": chip.arch, "dtype": dtype} | count(kernel, code[kernel.name]) for kernel in KERNELS]
    compiler = f"NVRTC {nvrtc().compiler_for(CHIPS[0].arch).version}"
    return {"compiler": compiler, "kernels": digest(), "seconds": compilation(), "trips": rows}


def margins(chip: Chip, row: dict[str, Any]) -> dict[str, float]:
    """Return how many times faster than memory each unit gets through a trip."""
    units = row["instructions"]
    clocks = {
        "issue": sum(units.values()) / ISSUED,
        "f64": units.get("f64", 0) * 32 / chip.f64_lanes,
        "conversion": units.get("f64 conversion", 0) * 32 / chip.conversions,
    }
    memory = (row["loads"] + row["stores"]) * VECTOR / chip.bytes
    return {unit: memory / taken for unit, taken in clocks.items() if taken}


def _margin(chip: Chip, row: dict[str, Any]) -> str:
    found = margins(chip, row)
    unit = min(found, key=lambda unit: found[unit])
    text = f"{found[unit]:.1f}" if found[unit] >= 1.1 else f"**{found[unit]:.2f}**"
    return text if unit == "issue" else f"{text} ({unit})"


def _lines(run: dict[str, Any]) -> Iterable[str]:
    yield f"| kernel | dtype | instructions a KB | of them f64 | {' | '.join(c.name for c in CHIPS)} | latency |"
    yield "|---" * (5 + len(CHIPS)) + "|"
    rows = {(row["arch"], row["dtype"], row["kernel"]): row for row in run["trips"]}
    for kernel in KERNELS:
        for dtype in DTYPES:
            row = rows[CHIPS[0].arch, dtype, kernel.title]
            units, kb = row["instructions"], (row["loads"] + row["stores"]) * VECTOR / 1000
            f64 = units.get("f64", 0) + units.get("f64 conversion", 0)
            cells = (_margin(chip, rows[chip.arch, dtype, kernel.title]) for chip in CHIPS)
            on_the_way = row["loads"] / row["warps"] * VECTOR * kernel.resident / CHIPS[0].bytes
            yield (
                f"| {kernel.title} | {dtype} | {sum(units.values()) / kb:.0f} | {f64 / kb:.0f} | "
                f"{' | '.join(cells)} | {on_the_way:,.0f} |"
            )


def table(run: dict[str, Any]) -> str:
    """Lay out a run as Markdown."""
    chips = "; ".join(
        f"{c.name} (sm_{c.arch}): {c.multiprocessors} multiprocessors at {c.ghz} GHz, {c.bandwidth} TB/s, "
        f"so {c.bytes:.1f} bytes a clock for each; {c.f64} Tflop/s of f64, so {c.f64_lanes:.0f} lanes"
        for c in CHIPS
    )
    return (
        "\n".join(_lines(run))
        + f"\n\nMade by `benchmarks/instructions_cuda.py`, {run['compiler']}. {chips}. The figures are NVIDIA's data "
        f"sheets', but for the H200's bandwidth: {COPY} TB/s is what a copy is expected to reach.\n\n"
        f"A first call waits for its modules, where CuPy has none on disk. On the CPU that ran this the compiler took, "
        f"for sm_{CHIPS[0].arch}: {', '.join(f'{s:.1f} s for `{module}`' for module, s in run['seconds'].items())}. A "
        "list takes `reduce` and `transform`.\n"
    )


def fill(page: str, run: dict[str, Any]) -> str:
    """Put the table between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name}: expected {BEGIN} and, behind it, {END}")
    return f"{before}{BEGIN}\n{table(run)}{END}{after}"


def main() -> int:
    """Show the table, or renew it."""
    parser = argparse.ArgumentParser(description="Model the CUDA kernels' speed from their machine code.")
    parser.add_argument("--update", action="store_true", help=f"compile and count; write {RESULT.name} and {PAGE.name}")
    if parser.parse_args().update:
        RESULT.write_text(json.dumps(measure(), indent=1) + "\n")
        PAGE.write_text(fill(PAGE.read_text(), json.loads(RESULT.read_text())))
    print(table(json.loads(RESULT.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
