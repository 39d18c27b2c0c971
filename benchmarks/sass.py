# SPDX-License-Identifier: BSD-3-Clause
"""What a warp issues in one trip of a kernel's loop: read from NVIDIA's machine code, of which nothing is executed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
_LABEL = re.compile(r"^(\.L\w+):")
_TARGET = re.compile(r"`\((\.L\w+)\)")
_GUARD = re.compile(r"!?\bU?P\d\b")

VECTORS = ("LDG.E.128", "STG.E.128")


@dataclass(frozen=True)
class Instruction:
    """One line of a disassembly."""

    opcode: str
    conditional: bool
    target: str | None

    @property
    def unit(self) -> str:
        """The unit that it keeps busy: conversions are told from f64's arithmetic, since their rates differ."""
        name = self.opcode.split(".")[0]
        if name in ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX"):
            return "f64"
        if name == "F2F" and ".F64" in self.opcode:
            return "f64 conversion"
        if name in ("LDG", "STG", "LDS", "STS", "LD", "ST", "LDC", "ULDC", "SHFL", "ATOMG", "ATOM", "RED"):
            return "memory"
        if name in ("FADD", "FMUL", "FFMA", "FSETP", "FSET", "FSEL", "FMNMX", "HADD2", "HMUL2", "HFMA2", "F2F", "F2FP"):
            return "f32"
        return "other"


def instructions(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """Read one kernel of `nvdisasm -c`; return its instructions, and which of them the labels stand before."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(code)
        elif found := _INSTRUCTION.search(line):
            guard, opcode, operands = found.groups()
            target = _TARGET.search(operands)
            conditional = guard not in (None, "PT", "UPT") or bool(_GUARD.search(operands.split("`")[0]))
            code.append(Instruction(opcode, conditional, target[1] if target else None))
    return code, labels


def successors(code: list[Instruction], labels: dict[str, int]) -> list[list[int]]:
    """Return what may follow each instruction in a warp whose lanes stay together."""
    following = []
    for i, one in enumerate(code):
        name = one.opcode.split(".")[0]
        onward = [i + 1] if i + 1 < len(code) else []
        if one.opcode.startswith("BRA.DIV"):  # lanes do stay together
            following.append(onward)
        elif name in ("BRA", "JMP", "CALL"):  # some calls return, and some are jumps
            ends = not one.conditional and name != "CALL"
            following.append(([] if ends else onward) + ([labels[one.target]] if one.target else []))
        elif name in ("EXIT", "RET", "BRX", "JMX"):  # a BRX is the way back from a shuffle of lanes that are apart
            following.append(onward if one.conditional else [])
        else:
            following.append(onward)
    return following


class Loop:
    """A loop: its instructions, where it is entered, and the loops inside."""

    def __init__(self, nodes: set[int], entries: set[int], edges: dict[int, list[int]]) -> None:
        self.nodes, self.entries, self.edges = nodes, entries, edges
        inside = {i: [j for j in edges[i] if j in nodes and j not in entries] for i in nodes}
        self.inner = loops(inside, edges)
        self.own = nodes - {i for loop in self.inner for i in loop.nodes}


def loops(graph: dict[int, list[int]], edges: dict[int, list[int]]) -> list[Loop]:
    """Find the outermost loops of a graph: its strongly connected components."""
    before: dict[int, set[int]] = {}
    for i, following in edges.items():
        for j in following:
            before.setdefault(j, set()).add(i)
    found = []
    for part in _components(graph):
        if len(part) > 1 or any(i in graph[i] for i in part):
            found.append(Loop(part, {i for i in part if before.get(i, set()) - part}, edges))
    return found


def _components(graph: dict[int, list[int]]) -> Iterable[set[int]]:
    """Kosaraju's algorithm."""
    order: list[int] = []
    seen: set[int] = set()
    backward: dict[int, list[int]] = {i: [] for i in graph}
    for root, following in graph.items():
        for j in following:
            backward[j].append(root)
        stack = [] if root in seen else [(root, iter(graph[root]))]
        seen.add(root)
        while stack:
            i, rest = stack[-1]
            step = next((j for j in rest if j not in seen), None)
            if step is None:
                order.append(i)
                stack.pop()
            else:
                seen.add(step)
                stack.append((step, iter(graph[step])))
    done: set[int] = set()
    for root in reversed(order):
        part, waiting = set(), [root]
        while waiting:
            i = waiting.pop()
            if i not in done:
                done.add(i)
                part.add(i)
                waiting += backward[i]
        if part:
            yield part


def _reached(following: list[list[int]]) -> dict[int, list[int]]:
    """Leave out what is behind the end: a jump to itself, and the slow ways of shuffles."""
    waiting, reached = [0], {}
    while waiting:
        i = waiting.pop()
        if i not in reached:
            reached[i] = following[i]
            waiting += following[i]
    return reached


def _every(found: list[Loop]) -> Iterable[Loop]:
    for loop in found:
        yield loop
        yield from _every(loop.inner)


Cost = tuple[int, int, int]  # vectors loaded and stored, steps that are rare, instructions


def _add(a: Cost, b: Cost) -> Cost:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


class Trip:
    """The way through one trip of a loop that moves most vectors, enters fewest inner loops, and is longest."""

    def __init__(self, code: list[Instruction], loop: Loop, trips: Mapping[str, int], avoided: str) -> None:
        self._code, self._trips, self._avoided = code, trips, re.compile(avoided)
        self.counts = self._way(loop)

    def _way(self, loop: Loop) -> Counter[str]:
        """Count opcodes: inner loops are nodes of a graph that has no cycles once edges to the entries are gone."""
        node = {i: i for i in loop.own} | {i: -1 - k for k, inner in enumerate(loop.inner) for i in inner.nodes}
        inside = {-1 - k: self._inner(inner) for k, inner in enumerate(loop.inner)}
        after: dict[int, set[int]] = {n: set() for n in node.values()}
        last: set[int] = set()
        for i in loop.nodes:
            for j in loop.edges[i]:
                if j in loop.entries:
                    last.add(node[i])
                elif j in node and node[i] != node[j]:
                    after[node[i]].add(node[j])
        best: dict[int, tuple[Cost, int | None]] = {}
        first = {node[i] for i in loop.entries}
        for n in _topological(after):
            own = self._cost(n, inside)
            here = ((0, 0, 0), None) if n in first else best.get(n)
            if here is None or own is None:
                best.pop(n, None)
                continue
            best[n] = _add(here[0], own), here[1]
            for m in after[n]:
                if m not in best or best[m][0] < best[n][0]:
                    best[m] = best[n][0], n
        ends = [n for n in last if n in best]
        if not ends:
            raise ValueError(
                f"no way through a loop of {len(loop.nodes)} instructions avoids {self._avoided.pattern!r}."
            )
        n = max(ends, key=lambda n: best[n][0])
        counts: Counter[str] = Counter()
        step: int | None = n
        while step is not None:
            counts += inside[step] if step < 0 else Counter({self._code[step].opcode: 1})
            step = best[step][1]
        return counts

    def _inner(self, loop: Loop) -> Counter[str]:
        names = {self._code[i].opcode.split(".")[0] for i in loop.own}
        trips = next((n for name, n in self._trips.items() if name in names), 0)
        return Counter({opcode: n * trips for opcode, n in self._way(loop).items()}) if trips else Counter()

    def _cost(self, n: int, inside: dict[int, Counter[str]]) -> Cost | None:
        if n < 0:
            return 0, 0 if inside[n] else -1, sum(inside[n].values())
        opcode = self._code[n].opcode
        return None if self._avoided.fullmatch(opcode) else (int(opcode.startswith(VECTORS)), 0, 1)


def _topological(after: dict[int, set[int]]) -> list[int]:
    waiting = Counter(m for following in after.values() for m in following)
    ready = [n for n in after if not waiting[n]]
    order = []
    while ready:
        order.append(n := ready.pop())
        for m in after[n]:
            waiting[m] -= 1
            if not waiting[m]:
                ready.append(m)
    return order


def hot_trip(text: str, trips: Mapping[str, int] | None = None, avoided: str = "") -> Counter[str]:
    """Count what a warp issues in one trip of the loop that has most loads of 16 bytes, for ordinary values at most.

    Loops inside with an instruction in `trips` (an opcode up to its first dot) are made so often; the others are for
    values out of the usual range, and not made. A way through an opcode that is all of what the regular expression
    `avoided` matches is not taken.
    """
    code, labels = instructions(text)
    following = _reached(successors(code, labels))
    hot = max(_every(loops(following, following)), key=lambda loop: _loads(code, loop), default=None)
    if hot is None or not _loads(code, hot):
        raise ValueError(f"no loop has {VECTORS[0]}, in {len(code)} instructions.")
    return Trip(code, hot, trips or {}, avoided).counts


def _loads(code: list[Instruction], loop: Loop) -> int:
    return sum(code[i].opcode.startswith(VECTORS[0]) for i in loop.own)
