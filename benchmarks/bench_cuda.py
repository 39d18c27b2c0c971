# SPDX-License-Identifier: BSD-3-Clause
"""fastclip on a GPU beside CuPy's own operations, PyTorch, Apex, and the bandwidth that the device shows in this run.

    python benchmarks/bench_cuda.py --json benchmarks/results/cuda.json
    python benchmarks/bench_cuda.py --dry-run      # the same calls over a fake CuPy: nothing is timed

Times are those between two events on the device, contestants in turn, medians of rounds: where a call launches more
slowly than the device works, they are its launches'. What a bar asks for is a ratio of two medians of one run.
"""

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROUNDS = 30
GIB = 2**30
ROWS = {
    "rows": (4096, 4096),
    "rows of 40 B": (1 << 22, 10),
    "rows of 256 B": (1 << 20, 64),
    "rows of 4 KB": (1 << 16, 1024),
    "rows of 32 KB": (32_768, 8192),
    "rows of 128 KB": (8192, 32_768),
    "rows of 1 MB": (1024, 262_144),
}
SIZES = {"20 MB": [5_000_000 // 50] * 50, "1 GiB": [GIB // 4 // 64] * 64, "10,000 arrays of 1 KB": [256] * 10_000}
COLUMNS, DRY_COLUMNS = (16_384, 16_384), (40, 30)
DRY_SIZES = {"dry": [100] * 5}
DRY_ROWS = {name: (3 if count < 262_144 else 2, count) for name, (_, count) in ROWS.items()}
#: contestants that leave the gradients as they were
UNCHANGED = ("copy", "norm", "measure", "within", "fused AdamW alone", "rows, none clipped", "columns, none clipped")


def load_fake():
    """Put the fake CuPy of the tests in the place of the real one."""
    folder = Path(__file__).resolve().parents[1] / "tests" / "cuda"
    for name in ("mutants", "build", "fakecupy"):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    if importlib.util.find_spec("torch"):
        importlib.import_module(
            "torch._dynamo"
        )  # optimizers import it, and it what looks at CuPy: before that is a fake
    sys.modules["cupy"] = sys.modules["fakecupy"]


def timer(cp, dry):
    """A function that times one call, in seconds on the device and on the host."""

    def device_and_host(call):
        if dry:
            call()
            return None, None
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record()
        before = time.perf_counter()
        call()
        host = time.perf_counter() - before
        end.record()
        end.synchronize()
        return cp.cuda.get_elapsed_time(start, end) / 1e3, host

    return device_and_host


def torch_contestants(arrays, limit, dry):
    """PyTorch's clip_grad_norm_ and Apex's over the same memory, where they have CUDA; a dry run on the CPU."""
    try:
        import torch
    except ImportError:
        return {}
    if not (dry or torch.cuda.is_available()):
        return {}
    parameters = []
    for a in arrays:
        t = torch.from_numpy(a.get()) if dry else torch.from_dlpack(a)
        p = torch.nn.Parameter(torch.empty_like(t), requires_grad=True)
        p.grad = t
        parameters.append(p)
    import fastclip.torch

    def stepping(call):
        optimizer = torch.optim.AdamW(parameters, lr=1e-9, fused=True)
        return lambda: (call(), optimizer.step())

    folding = torch.optim.AdamW(parameters, lr=1e-9, fused=True)
    fastclip.torch.clip_in_step(folding, limit)
    found = {
        "torch foreach": lambda: torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True),
        "fastclip.torch": lambda: fastclip.torch.clip_grad_norm_(parameters, limit),
        "torch, and fused AdamW": stepping(lambda: torch.nn.utils.clip_grad_norm_(parameters, limit)),
        "fused AdamW alone": stepping(lambda: None),
        "clip_in_step of fused AdamW": folding.step,
    }
    try:
        from apex.contrib.clip_grad import clip_grad_norm_
    except ImportError:
        return found
    return found | {"apex": lambda: clip_grad_norm_(parameters, limit)}


def cupy_contestant(cp, arrays, limit):
    """What one writes with CuPy alone."""

    def clip():
        norm = cp.sqrt(sum((a * a).sum() for a in arrays))
        by = cp.minimum(1.0, limit / norm).astype(np.float32)
        for a in arrays:
            a *= by

    return clip


def contestants(cp, sizes, dry):
    """Every contestant of one size: with a limit of infinity nothing is written, with half the norm everything is."""
    import fastclip
    import fastclip.cuda

    arrays = [cp.asarray(np.full(n, 1e-3, np.float32)) for n in sizes]
    out = cp.asarray(np.zeros(()))
    within, clips = math.inf, 0.5 * 1e-3 * math.sqrt(sum(sizes))
    found = {
        "norm": lambda: fastclip.cuda.norm_and_coef(arrays, clips),
        "measure": lambda: fastclip.measure(arrays),
        "within": lambda: fastclip.clip_by_global_norm_(arrays, within, out=out),
        "clip": lambda: fastclip.clip_by_global_norm_(arrays, clips, out=out),
    }
    found |= torch_contestants(arrays, clips, dry)
    if dry:
        return found, arrays
    destination = cp.empty(sum(sizes), np.float32)
    source = cp.zeros(sum(sizes), np.float32)
    found |= {"copy": lambda: destination.data.copy_from_device_async(source.data, source.nbytes)}
    return found | {"cupy": cupy_contestant(cp, arrays, clips)}, arrays


def row_contestants(cp, shape, dry):
    """A batch of which all rows are clipped, or none; its copy, which reads and writes as much, and CuPy's own way."""
    import fastclip.cuda

    batch = cp.asarray(np.full(shape, 1e-3, np.float32))
    length = 1e-3 * math.sqrt(shape[1])
    found = {
        "rows, none clipped": lambda: fastclip.cuda.clip_rows_(batch, 2 * length),
        "rows, all clipped": lambda: fastclip.cuda.clip_rows_(batch, 0.5 * length),
    }
    if dry:
        return found, [batch]
    other = cp.empty_like(batch)

    def by_cupy():
        norms = cp.linalg.norm(batch, axis=1, keepdims=True)
        cp.multiply(batch, cp.minimum(1.0, 0.5 * length / norms), out=batch)

    return found | {"copy": lambda: other.data.copy_from_device_async(batch.data, batch.nbytes), "cupy": by_cupy}, [
        batch
    ]


def column_contestants(cp, shape, dry):
    """The same of columns: their norms are along the first axis."""
    import fastclip

    matrix = cp.asarray(np.full(shape, 1e-3, np.float32))
    length = 1e-3 * math.sqrt(shape[0])
    found = {
        "columns, none clipped": lambda: fastclip.clip_by_norm_(matrix, 2 * length, axes=0),
        "columns, all clipped": lambda: fastclip.clip_by_norm_(matrix, 0.5 * length, axes=0),
    }
    if not dry:
        other = cp.empty_like(matrix)
        found["copy"] = lambda: other.data.copy_from_device_async(matrix.data, matrix.nbytes)
    return found, [matrix]


def run(cp, dry):
    """Time every size; medians in microseconds, or None in a dry run."""
    device_and_host = timer(cp, dry)
    results = {}
    cases = {name: (contestants, sizes) for name, sizes in (DRY_SIZES if dry else SIZES).items()}
    cases["columns"] = column_contestants, (DRY_COLUMNS if dry else COLUMNS)
    cases |= {name: (row_contestants, shape) for name, shape in (DRY_ROWS if dry else ROWS).items()}
    for name, (make, sizes) in cases.items():
        calls, arrays = make(cp, sizes, dry)
        taken = {contestant: [] for contestant in calls}
        for i in range(1 if dry else ROUNDS + 3):
            for contestant, call in calls.items():
                for a in arrays:
                    if contestant not in UNCHANGED and not dry:
                        a.fill(1e-3)
                measured = device_and_host(call)
                if i >= 3 and not dry:  # the first ones compile and warm up
                    taken[contestant].append(measured)
        results[name] = {
            contestant: {
                "device_us": _median(times, 0),
                "host_us": _median(times, 1),
                "bytes": sum(a.nbytes for a in arrays),
            }
            for contestant, times in taken.items()
        }
    return results


def _median(times, place):
    return statistics.median(t[place] for t in times) * 1e6 if times else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--dry-run", action="store_true", help="call everything once over a fake CuPy; time nothing")
    arguments = parser.parse_args()
    if arguments.dry_run:
        load_fake()
    import cupy as cp

    results = run(cp, arguments.dry_run)
    if not arguments.dry_run:
        results["device"] = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)["name"].decode()
    text = json.dumps(results, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
