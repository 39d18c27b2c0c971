# SPDX-License-Identifier: BSD-3-Clause
"""docs/performance.md and the table in README.md, made from the published runs: python benchmarks/page.py."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.comparison import fill, part
from benchmarks.training import trainings
from fastclip._bench.intervals import Interval
from fastclip._bench.record import Record, load
from fastclip._bench.report.formats import duration, error, operation, over, size, times

_ROOT = Path(__file__).resolve().parents[1]
RESULT = _ROOT / "benchmarks" / "results" / "ruler.json"
COMPARISON = RESULT.with_name("bench.json")
PLOTS = _ROOT / "docs" / "plots"
PAGE = _ROOT / "docs" / "performance.md"
README = _ROOT / "README.md"

_CALLS = {"out_of_place_again": "out_of_place once the results of an earlier call have been dropped"}

_HEAD = """<!-- Made by benchmarks/page.py from the runs in benchmarks/results. Do not edit. -->
# Performance

Clipping is bound by memory. The *limit* is a plain native loop over the same bytes, in the same process and in turn
with the rest; the best over loop widths and thread counts. It reads, reads and writes back, or copies past the cache;
each table says which.

Ratios are medians over rounds, paired within each; in brackets their 95 % intervals. A bar is held by the worse end
of the interval.
"""

_STREAMS = "*Streams* is the limit by loops that read four parts of a buffer side by side. No bar is set by it."


@dataclass(frozen=True)
class _Group:
    """Name the rows that share a table, and say what they are measured against."""

    title: str
    text: str
    operations: tuple[str, ...]
    dtypes: tuple[str, ...] = ("f32",)
    ours: str = "fastclip"

    def rows(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            row
            for row in operations
            if row["operation"] in self.operations
            and row["dtype"] in self.dtypes
            and row.get("ours", "fastclip") == self.ours
        ]


_GROUPS = (
    _Group(
        "In place, float32",
        "The limit is a loop that reads (within the limit), one that also writes back (by value), the sum of both\n"
        "(clipping). *NumPy* is `np.dot`, a square root and `np.multiply(out=)` if it is needed; `np.clip(out=)` by\n"
        "value. *PyTorch* is `clip_grad_norm_` and `clip_grad_value_` on the same memory.",
        ("within", "clip", "value"),
    ),
    _Group(
        "PyTorch's functions",
        "`clip_grad_norm_` and `clip_grad_value_` of `fastclip.torch`, given a list of parameters, over PyTorch's own\n"
        "on the same memory and over the same limits.",
        ("within", "clip", "value"),
        ours="fastclip.torch",
    ),
    _Group(
        "TensorFlow's functions",
        "`clip_by_global_norm` and `clip_by_value` of `fastclip.tensorflow`, called eagerly, over TensorFlow's own,\n"
        "called eagerly and in a graph; each in a process of its own on equal data. The limits are those in place.",
        ("within", "clip", "value"),
        ours="fastclip.tensorflow",
    ),
    _Group(
        "In place, float16 and bfloat16",
        "The same limits for half the bytes. *PyTorch* is `clip_grad_norm_` on the same memory; NumPy has no idiom.",
        ("within", "clip"),
        ("f16", "bf16"),
    ),
    _Group(
        "Into new arrays",
        "`clip_by_global_norm`, whose results are dropped at once, so that the next call finds their memory. The\n"
        "limit is the sum of a loop that reads and one that copies past the cache. *NumPy* and *PyTorch* are their\n"
        "norm and `[g * factor for g in gradients]`.",
        ("clip_new",),
    ),
    _Group(
        "NumPy's clip, into the array itself",
        "The limit is a loop that reads and writes back. *NumPy* is `np.clip(out=)`, *PyTorch* is `clamp_`.",
        ("clip_out",),
    ),
    _Group(
        "NumPy's clip, a few elements",
        "One call with numbers for bounds, which makes a new array. *NumPy* is `np.clip`, called the same way.",
        ("positional", "keywords"),
    ),
    _Group(
        "By rows",
        "`clip_by_norm_(a, limit, axes=1)`, every row beyond it. The memory's limit is a loop that reads and writes\n"
        "back. *NumPy* is `np.linalg.norm(axis=1)` and `np.multiply(out=)`, *PyTorch* is `renorm_`.",
        ("rows",),
    ),
)


def _over(ratio: Interval) -> str:
    return over(ratio, " to ")


def _under(ratio: Interval) -> str:
    return times(Interval(1 / ratio.median, 1 / ratio.high, 1 / ratio.low), " to ")


def _operation(name: str) -> str:
    words = operation(name)
    return f"`{words}`" if "(" in words else words


# A column for each opponent that took part anywhere in the table.
_AGAINST: dict[str, tuple[str, Callable[[Interval], str]]] = {
    "limit": ("{} / limit", _over),
    "streams": ("{} / streams", _over),
    "numpy": ("NumPy / {}", _under),
    "torch": ("PyTorch / {}", _under),
    "tensorflow": ("TensorFlow / {}", _under),
    "tf.function": ("tf.function / {}", _under),
}


def _bars(bars: list[dict[str, Any]]) -> str:
    words = {True: "held", False: "**missed**", None: "too few quiet rounds"}
    shown = []
    for bar in bars:
        if bar["against"] == "limit":
            at = f"at most {bar['at_most']:.2f} of the limit"
        else:
            at = f"{1 / bar['at_most']:.3g} times {bar['against']}"
        shown.append(f"{at}: {words[bar['passed']]}")
    return "; ".join(shown)


def _table(operations: list[dict[str, Any]], ours: str) -> Iterator[str]:
    against = [name for name in _AGAINST if any(name in row["ratios"] for row in operations)]
    columns = ["workload", "arrays", "size", "operation", ours, *(_AGAINST[name][0].format(ours) for name in against)]
    columns.append("bar")
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in operations:
        ratios = row["ratios"]
        cells = (
            f"`{row['workload']}`",
            f"{row['arrays']:,}",
            size(row["bytes"]),
            _operation(row["operation"]),
            duration(statistics.median(row["seconds"][ours])),
            *(_AGAINST[name][1](Interval(**ratios[name])) if name in ratios else "" for name in against),
            _bars(row["bars"]),
        )
        yield f"| {' | '.join(cells)} |"


def _groups(operations: list[dict[str, Any]]) -> Iterator[str]:
    for group in _GROUPS:
        rows = group.rows(operations)
        if rows:
            yield f"## {group.title}\n"
            yield group.text + "\n"
            yield "\n".join(_table(rows, group.ours)) + "\n"


def _plots() -> Iterator[str]:
    """Show the plots that were written with the published comparison."""
    for path in sorted(PLOTS.glob("*.png")):
        yield f"![{path.stem.replace('-', ' ')}](plots/{path.name})\n"


def render(run: dict[str, Any], comparison: Record | None = None) -> str:
    """Lay out a run of the ruler, and one of `fastclip bench`, as a page."""
    machine = run["environment"]
    config, versions = machine["fastclip"], machine["versions"]
    others = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "fastclip")
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    rounds = min(row["rounds"] for row in run["operations"])
    parts = [
        _HEAD,
        f"{machine['cpu']}, {machine['cores']} cores ({caches}), {machine['system']}, Python {machine['python']}; "
        f"fastclip {config['version']} at commit {config['commit']}, ISA {config['isa']}, "
        f"{config['threads']} threads, compiler {config['compiler']}; {others}. "
        f"{rounds} rounds or more each.\n",
        *([_STREAMS + "\n"] if any("streams" in row["ratios"] for row in run["operations"]) else []),
        *_groups(run["operations"]),
        "## Error of the norm\n",
        "Against the exact norm of the same data, relative. PyTorch answers in the data's own dtype.\n",
        "| workload | fastclip | NumPy | PyTorch |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{name}` | " + " | ".join(error(errors.get(peer)) for peer in ("fastclip", "numpy", "torch")) + " |"
            for name, errors in run["norm_errors"].items()
            if errors
        )
        + "\n",
        "## Memory\n",
        "By how much one clipping call raises the peak of a fresh process.\n",
        "\n".join(
            f"- `{row['workload']}`, {_CALLS.get(row['call'], row['call'])}: data {size(row['data'])}, "
            f"new results {size(row['result'])}, raised by {size(row['extra'])}."
            for row in run["memory"]
        )
        + "\n",
        *trainings(RESULT.parent),
        *([part(comparison), *_plots()] if comparison else []),
        "## To repeat it\n",
        "On an idle machine; `benchmarks/README.md` says how it measures.\n",
        "    make bench                                                    # the comparison with other libraries\n"
        "    make bars BARS_OPTIONS='--json benchmarks/results/ruler.json'  # the bars\n"
        "    make trainings                                                # steps and whole clients of PyTorch\n"
        "    .venv/bin/python benchmarks/page.py                           # this page\n",
    ]
    return "\n".join(parts)


def comparison() -> Record | None:
    """Read the published run of `fastclip bench`, if there is one."""
    return load(COMPARISON) if COMPARISON.exists() else None


def main() -> int:
    """Write the page and the table."""
    found = comparison()
    PAGE.write_text(render(json.loads(RESULT.read_text()), found))
    README.write_text(fill(README.read_text(), found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
