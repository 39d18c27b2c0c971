# SPDX-License-Identifier: BSD-3-Clause
"""docs/performance.md, made from a published run: python benchmarks/page.py."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
RESULT = _ROOT / "benchmarks" / "results" / "ruler.json"
PAGE = _ROOT / "docs" / "performance.md"

_OPERATIONS = {"within": "global norm, within the limit", "clip": "global norm, clipping", "value": "by value"}

_COLUMNS = (
    "workload",
    "arrays",
    "size",
    "operation",
    "fastclip",
    "fastclip / limit",
    "NumPy / fastclip",
    "PyTorch / fastclip",
    "bar",
)

_HEAD = """<!-- Made by benchmarks/page.py from benchmarks/results/ruler.json. Do not edit. -->
# Performance

Clipping is bound by memory. The *limit* is a plain native loop over the same bytes, in the same process and in turn
with the rest: one that reads (within the limit), one that also writes back (by value), the sum of both (clipping);
the best over loop widths and thread counts. *NumPy* is `np.dot`, a square root and `np.multiply(out=)` if it is needed;
`np.clip(out=)` by value. *PyTorch* is `clip_grad_norm_` and `clip_grad_value_` on the same memory.

Ratios are medians over rounds, paired within each; in brackets their 95 % intervals. A bar is held by the worse end
of the interval.
"""


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.0f} KB"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def _over(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _under(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{1 / ratio['median']:.1f} ({1 / ratio['high']:.1f} to {1 / ratio['low']:.1f})"


def _bars(bars: list[dict[str, Any]]) -> str:
    words = {True: "held", False: "**missed**", None: "too few quiet rounds"}
    shown = []
    for bar in bars:
        if bar["against"] == "limit":
            at = f"at most {bar['at_most']:.2f} of the limit"
        else:
            at = f"{1 / bar['at_most']:.0f} times {bar['against']}"
        shown.append(f"{at}: {words[bar['passed']]}")
    return "; ".join(shown)


def _rows(operations: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|---" * len(_COLUMNS) + "|"
    for row in operations:
        cells = (
            f"`{row['workload']}`",
            f"{row['arrays']:,}",
            _size(row["bytes"]),
            _OPERATIONS[row["operation"]],
            _time(statistics.median(row["seconds"]["fastclip"])),
            _over(row["ratios"]["limit"]),
            _under(row["ratios"].get("numpy")),
            _under(row["ratios"].get("torch")),
            _bars(row["bars"]),
        )
        yield f"| {' | '.join(cells)} |"


def render(run: dict[str, Any]) -> str:
    """Lay out a run of the ruler as a page."""
    machine = run["environment"]
    config, versions = machine["fastclip"], machine["versions"]
    others = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "fastclip")
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    rounds = min(row["rounds"] for row in run["operations"])
    parts = [
        _HEAD,
        f"{machine['cpu']}, {machine['cores']} cores ({caches}), {machine['system']}, Python {machine['python']}; "
        f"fastclip {config['version']} at commit {machine['commit']}, ISA {config['isa']}, "
        f"{config['threads']} threads, compiler {config['compiler']}; {others}. "
        f"{rounds} rounds or more each. float32 throughout.\n",
        "\n".join(_rows(run["operations"])) + "\n",
        "## Error of the norm\n",
        "Against the exact norm of the same float32 data, relative.\n",
        "| workload | fastclip | NumPy | PyTorch |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{name}` | " + " | ".join(f"{errors[peer]:.1e}" for peer in ("fastclip", "numpy", "torch")) + " |"
            for name, errors in run["norm_errors"].items()
        )
        + "\n",
        "## Memory\n",
        "By how much one clipping call raises the peak of a fresh process.\n",
        "\n".join(
            f"- `{row['workload']}`, {row['call']}: data {_size(row['data'])}, results {_size(row['result'])}, "
            f"raised by {_size(row['extra'])}."
            for row in run["memory"]
        )
        + "\n",
        "## To repeat it\n",
        "`make bench`, on an idle machine; `benchmarks/README.md` says how it measures. To publish a run:\n",
        "    make bench BENCH_OPTIONS='--json benchmarks/results/ruler.json' && .venv/bin/python benchmarks/page.py\n",
    ]
    return "\n".join(parts)


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(json.loads(RESULT.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
