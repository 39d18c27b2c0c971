# SPDX-License-Identifier: BSD-3-Clause
"""Train a client with torch's clipping and with fastclip's in turn, and say what was gained and what it changed."""

from __future__ import annotations

import argparse
import functools
import json
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

import torch

import fastclip
from benchmarks.clients import ways
from fastclip._bench.environment import environment

EPSILON = 2.0**-23  # f32's: the next float but one at most
WAYS = {"torch": ways.torch_as_it_is, "fastclip": ways.patched}


KEYS = ("per_step", "clipping", "call", "share")


class Timed(NamedTuple):
    """A run, its length, and the watch over its clipping. What others did to the machine is least in `call`."""

    run: ways.Run
    seconds: float
    watch: ways.Watch

    @property
    def per_step(self) -> float:
        return self.seconds / len(self.watch.seconds)

    @property
    def clipping(self) -> float:
        return sum(self.watch.seconds) / len(self.watch.seconds)

    @property
    def call(self) -> float:
        return median(self.watch.seconds)

    @property
    def share(self) -> float:
        return self.clipping / self.per_step


def timed(client: ModuleType, way: Any, steps: int) -> Timed:
    with way(client.CLIPS_IN), ways.watching(client.CLIPS_IN) as watch:
        start = perf_counter()
        run = client.train(steps)
        return Timed(run, perf_counter() - start, watch)


def in_turn(client: ModuleType, steps: int, repeats: int) -> dict[str, list[Timed]]:
    """Every round trains each once; who is first takes turns."""
    found: dict[str, list[Timed]] = {name: [] for name in WAYS}
    for way in WAYS.values():
        timed(client, way, min(steps, client.STEPS // 10))  # what is made, loaded or compiled at the first call
    for turn in range(repeats):
        for name in list(WAYS)[:: -1 if turn % 2 else 1]:
            found[name].append(timed(client, WAYS[name], steps))
    return found


def table(found: dict[str, list[Timed]]) -> str:
    lines = [f"{'':10}{'ms/step':>10}{'µs clipping':>13}{'median call':>13}{'share':>9}{'score':>9}"]
    for name, runs in found.items():
        step, clipping, call, share = (median(getattr(r, key) for r in runs) for key in KEYS)
        score = runs[0].run.score
        lines.append(f"{name:10}{step * 1e3:10.3f}{clipping * 1e6:13.1f}{call * 1e6:13.1f}{share:9.2%}{score:9.3f}")
    return "\n".join(lines)


def ratio(found: dict[str, list[Timed]], key: str) -> str:
    """Torch's time over fastclip's, the median and the range of the rounds."""
    values = [getattr(a, key) / getattr(b, key) for a, b in zip(*found.values(), strict=True)]
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def parted(a: Timed, b: Timed) -> int | None:
    """The first step before which the norms were not the same but for 1e-4; None if there is none."""
    pairs = zip(a.watch.norms, b.watch.norms, strict=True)
    return next((step for step, (x, y) in enumerate(pairs) if abs(x - y) > 1e-4 * x), None)


def departure(a: Timed, b: Timed) -> dict[str, Any]:
    losses, parameters = a.run.departure(b.run)
    return {"losses": losses, "parameters": parameters, "parted": parted(a, b)}


def departed(words: str, off: dict[str, Any]) -> str:
    where = "never apart" if off["parted"] is None else f"apart from step {off['parted']} on"
    return f"{words}: losses up to {off['losses']:.1e} from torch's, parameters {off['parameters']:.1e}; {where}"


def record_of(one: Timed) -> dict[str, Any]:
    return {
        "seconds": one.seconds,
        "steps": len(one.watch.seconds),
        "clipped": one.watch.clipped,
        "clipping_seconds": sum(one.watch.seconds),
        "clipping_median": one.call,
        "last_loss": one.run.losses[-1],
        "score": one.run.score,
    }


def arguments(client: ModuleType) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=client.__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=client.STEPS, help=f"of each run, default {client.STEPS}")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, default 5")
    parser.add_argument("--threads", type=int, default=1, help="of torch and of fastclip, default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run and the environment")
    return parser.parse_args()


def main(client: ModuleType) -> None:
    given = arguments(client)
    torch.set_num_threads(given.threads)
    fastclip.set_num_threads(given.threads)
    found = in_turn(client, given.steps, given.repeats)
    by_torchs_norm = timed(client, ways.injected, given.steps)
    nearly = timed(client, functools.partial(ways.injected, factor=1 + EPSILON), given.steps)

    first, ours = found["torch"][0], found["fastclip"][0]
    print(client.__doc__.partition("\n")[0])
    print(
        f"{len(first.watch.seconds)} steps, {first.watch.clipped} of them clipped; {len(first.run.parameters)} arrays, "
        f"{sum(p.numel() for p in first.run.parameters):,} parameters; threads: {given.threads}; "
        f"medians of {given.repeats} runs each"
    )
    print(table(found))
    gains = (f"{words} {ratio(found, key)}" for words, key in zip(("run", "clipping", "call"), KEYS, strict=False))
    print(f"torch's time over fastclip's: {', '.join(gains)}")
    again = all(first.run.same(other.run) for other in found["torch"])
    same = first.run.same(by_torchs_norm.run)
    off, off_nearly = departure(first, ours), departure(first, nearly)
    print(f"torch's runs are {'' if again else 'NOT '}the same to the bit")
    print(f"by torch's norm: {'the same bits' if same else 'OTHER BITS'} in all losses and parameters")
    print(departed("by fastclip's", off))
    print(departed("by torch's, wrong by 2^-23", off_nearly))
    if given.json:
        given.json.write_text(
            json.dumps(
                {
                    "client": Path(client.__file__ or "").stem,
                    "environment": environment(["fastclip", "torch"]),
                    "packages": {name: metadata.version(name) for name in client.PACKAGES},
                    "given": {"steps": given.steps, "threads": given.threads},
                    "runs": {name: [record_of(one) for one in runs] for name, runs in found.items()},
                    "repeatable": again,
                    "same_bits_by_torchs_norm": same,
                    "departure": {"by_fastclips_norm": off, "by_torchs_norm_wrong_by_2^-23": off_nearly},
                },
                indent=1,
            )
            + "\n"
        )
