# SPDX-License-Identifier: BSD-3-Clause
"""docs/performance.md and the table in README.md, made from the published runs: python benchmarks/page.py."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.comparison import fill, part
from benchmarks.tables import GROUPS, Group
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


def _over(ratio: Interval) -> str:
    return over(ratio, " to ")


def _under(ratio: Interval) -> str:
    return times(Interval(1 / ratio.median, 1 / ratio.high, 1 / ratio.low), " to ")


def _operation(name: str) -> str:
    words = operation(name)
    return f"`{words}`" if "(" in words else words


# A column for each of a table's opponents that took part.
_AGAINST: dict[str, tuple[str, Callable[[Interval], str]]] = {
    "limit": ("{} / limit", _over),
    "streams": ("{} / streams", _over),
    "numpy": ("NumPy / {}", _under),
    "torch": ("PyTorch / {}", _under),
    "tensorflow": ("TensorFlow / {}", _under),
    "tf.function": ("tf.function / {}", _under),
    "optax": ("optax / {}", _under),
    "optax donated": ("optax / {}", _under),
    "flower": ("Flower / {}", _under),
    "thinc": ("thinc / {}", _under),
}


def _bars(bars: list[dict[str, Any]]) -> str:
    words = {True: "held", False: "**missed**", None: "too few quiet rounds"}
    shown = []
    for bar in bars:
        if bar["against"] == "limit" or bar["at_most"] > 1:
            at = f"at most {bar['at_most']:.2f} of {'the limit' if bar['against'] == 'limit' else bar['against']}"
        else:
            at = f"{1 / bar['at_most']:.3g} times {bar['against']}"
        shown.append(f"{at}: {words[bar['passed']]}")
    return "; ".join(shown)


def _table(operations: list[dict[str, Any]], group: Group) -> Iterator[str]:
    ours = group.ours
    against = [name for name in group.against if any(name in row["ratios"] for row in operations)]
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
    for group in GROUPS:
        rows = group.rows(operations)
        if rows:
            yield f"## {group.title}\n"
            yield group.text + "\n"
            yield "\n".join(_table(rows, group)) + "\n"


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
        "    make trainings                                                # training steps and whole clients\n"
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
