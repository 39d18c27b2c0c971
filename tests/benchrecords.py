# SPDX-License-Identifier: BSD-3-Clause
"""Records of runs that nobody ran: times follow a simple rule, and scatter by a seed."""

import random

PEERS = {"fastclip": 1.05, "numpy": 1.9, "torch": 3.8, "tensorflow": 6.5, "jax": 2.6, "optax": 3.1}
ERRORS = {"fastclip": 2e-16, "numpy": 2.3e-6, "torch": 1.9e-5, "tensorflow": 1e-6, "jax": 3e-7, "optax": 3e-7}
WRONG = {"torch": "relative error 1.9e-05, above 1e-05"}
OVERHEAD = {"fastclip": 2e-6, "numpy": 2e-5, "torch": 1e-4, "tensorflow": 4e-4, "jax": 8e-5, "optax": 2e-4}
BANDWIDTH = 25e9
KNOWN = {
    "rl_policy": (12, 40_000),
    "thousand_tens": (1000, 40_000),
    "resnet50": (161, 102_228_128),
    "gpt2": (148, 497_759_232),
}


def row(workload="resnet50", operation="within", rounds=30, peers=tuple(PEERS), slow=1.0, **fields):
    """Make a row; `slow` multiplies fastclip's time, `limit=False` leaves the limit out."""
    limit = fields.pop("limit", True)
    arrays, nbytes = KNOWN.get(workload, (1, 1 << 24))
    arrays, nbytes = fields.get("arrays", arrays), fields.get("bytes", nbytes)
    threads = fields.get("threads", 2)
    speed = BANDWIDTH * min(threads, 3) / 2 / {"within": 1, "clip": 2.3}.get(operation, 1.4)
    base = nbytes / speed
    times = {"limit": base} if limit else {}
    times |= {name: base * PEERS.get(name, 2.2) + OVERHEAD.get(name, 1e-5) * (arrays / 10) ** 0.7 for name in peers}
    times["fastclip"] *= slow
    scatter = random.Random(f"{workload} {operation} {nbytes} {threads}")
    return {
        "workload": workload,
        "arrays": arrays,
        "bytes": nbytes,
        "dtype": "f32",
        "operation": operation,
        "threads": threads,
        "cache": "warm",
        "sweep": None,
        "rounds": rounds,
        "retaken": 0,
        "disturbed": 0,
        "limit_loops": {"read": "avx2 x4, 2 threads"} if limit else {},
        "calls_per_sample": dict.fromkeys(peers, 1),
        "seconds": {n: [t * scatter.uniform(0.97, 1.03) for _ in range(rounds)] for n, t in times.items()},
        "noise": 0.05,
        "errors": {name: ERRORS.get(name, 1e-6) for name in peers},
        "wrong": {name: why for name, why in WRONG.items() if name in peers},
        **fields,
    }


def accuracy(case, group, elements, errors, wrong=None):
    return {
        "case": case,
        "group": group,
        "elements": elements,
        "dtype": "f32",
        "exact": elements**0.5,
        "errors": errors,
        "wrong": wrong or {},
    }


def _accuracies(peers):
    made = []
    for power in range(1, 10):
        grown = {name: min(1.0, ERRORS.get(name, 1e-6) * 10 ** (0.5 * (power - 7))) for name in peers}
        grown["fastclip"] = 0.0 if power % 2 else 1.1e-16
        wrong = {name: f"relative error {e:.1e}, above 1e-05" for name, e in grown.items() if e > 1e-5}
        made.append(accuracy("uniform", "size", 10**power, grown, wrong))
    infinite = {name: None if name != "fastclip" else 0.0 for name in peers}
    why = dict.fromkeys([name for name in peers if name != "fastclip"], "the norm is inf")
    made.append(accuracy("all elements 1e20", "hard", 1000, infinite, why))
    zero = {name: 1.0 if name != "fastclip" else 1.2e-16 for name in peers}
    why = dict.fromkeys([name for name in peers if name != "fastclip"], "the norm is 0")
    made.append(accuracy("all elements 1e-30", "hard", 1000, zero, why))
    some = {name: ERRORS.get(name, 1e-6) for name in peers}
    made.append(accuracy("one large among many small", "hard", 10**6, some, {}))
    return made


def environment(cpu="AMD EPYC", peers=tuple(PEERS)):
    return {
        "cpu": cpu,
        "cores": 2,
        "caches": {"L1d": "32K", "L1i": "32K", "L2": "512K", "L3": "32768K"},
        "huge_pages": "madvise",
        "system": "Linux 6.1.0 x86_64",
        "python": "3.11.7",
        "versions": dict.fromkeys(peers, "1.2.3"),
        "load_average": [0.1, 0.2, 0.3],
        "fastclip": {
            "version": "0.1.0",
            "commit": "abc1234",
            "isa": "avx2",
            "threads": 2,
            "compiler": "GNU 12.2.0",
            "flags": "-O3",
        },
    }


def record(rows=None, peers=tuple(PEERS), missing=None, **fields):
    """Make a record; without rows, one of everything."""
    if rows is None:
        rows = [row(workload, operation, peers=peers) for workload in KNOWN for operation in ("within", "clip")]
        rows.append(row("clip_10", "positional", limit=False, bytes=40, peers=tuple(peers)[:2]))
        for operation in ("within", "clip"):
            for power in range(10, 31, 2):
                name = f"size_{1 << power}"
                rows.append(row(name, operation, peers=peers, sweep="size", bytes=1 << power))
            rows += [row("resnet50", operation, peers=peers, sweep="threads", threads=n) for n in (1, 2, 4, 8)]
        rows.append(row("cache_4mb", "within", peers=peers, sweep="cache", cache="cold", bytes=1 << 22))
    return {
        "schema": 1,
        "environment": environment(peers=peers),
        "bandwidth": {kind: {"1": one, "2": 1.6 * one} for kind, one in (("read", 15.1), ("write", 11.2))},
        "rows": rows,
        "accuracy": _accuracies(peers),
        "failed": {},
        "missing": {"cupy": "pip install cupy-cuda12x"} if missing is None else missing,
        "interrupted": False,
        **fields,
    }
