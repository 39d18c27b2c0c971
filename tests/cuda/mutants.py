# SPDX-License-Identifier: BSD-3-Clause
"""Seeded defects: what a person could get wrong, and what has to notice it.

What no CPU shows, and so is not here: the fence after a counter (the one before it orders as much in ThreadSanitizer's
eyes), the instructions of ptx.cuh, and how many blocks a chip holds at a time.
"""

import os
from typing import NamedTuple

LIST, EACH, CLAMP, MEASURE, ALL = "norm_list", "norm_each", "clamp", "measure", ""
KEPT, COLUMNS = "kept_rows", "columns"
ODD_ROWS = "test_rows.py::test_rows_out_of_range_and_not_finite"


class Mutant(NamedTuple):
    """A text in a module's source and what takes its place, where it stands first."""

    before: str
    after: str
    run: str = "plain"  # the way of running that must notice it
    tests: str = LIST  # pytest's -k in test_schedules.py, or a test by its full name

    def apply(self, source):
        """Return the source with the defect; one in a file that this module does not include changes nothing."""
        return source.replace(self.before, self.after, 1)


_OTHER = "test_list.py::test_"
_FENCE = "        __threadfence();\n        "
MUTANTS = {
    # barriers and collectives
    "no barrier after the warps' totals": Mutant(
        "= t;\n    __syncthreads();\n    if (warp == 0)", "= t;\n    if (warp == 0)"
    ),
    "no barrier before the next total": Mutant("__syncthreads();  // before", "// before", "threads"),
    "no barrier after the last block's mark": Mutant(
        "    }\n    __syncthreads();\n    if (!scratch.last)", "    }\n    if (!scratch.last)"
    ),
    "a shuffle that some lanes leave out": Mutant(
        "step /= 2) merge(t, total_below(t, step));",
        "step /= 2)\n        if (threadIdx.x % kWarp < step) merge(t, total_below(t, step));",
    ),
    "lanes that leave before a shuffle": Mutant(
        "            mine = total_of_lanes<D>(mine);",
        "            if (lane == 31) return;\n            mine = total_of_lanes<D>(mine);",
        tests=EACH,
    ),
    "a mask without the last lane": Mutant("kEveryLane = 0xffffffffu", "kEveryLane = 0x7fffffffu"),
    # between blocks
    "a counter that is not atomic": Mutant(
        "scratch.last = atomicAdd(counter, 1u) ==", "scratch.last = (*counter)++ ==", "threads"
    ),
    "no fence before the block counts itself": Mutant(f"{_FENCE}scratch.last", "        scratch.last", "threads"),
    "no fence before the warp counts itself": Mutant(f"{_FENCE}ended", "        ended", "threads", EACH),
    "a counter that stays": Mutant("    atomicExch(plan.counters, 0u);", ""),
    "an array's counter that stays": Mutant("        atomicExch(plan.counters + group, 0u);", "", tests=EACH),
    "the first block adds, not the last": Mutant("== count - 1;", "== 0;", "threads"),
    "a warp too early": Mutant("ended, 0) != count", "ended, 0) != count - 1", tests=EACH),
    "a partial sum for each block": Mutant("plan.partials[i] = mine", "plan.partials[blockIdx.x] = mine"),
    # bounds
    "one element too many in a sum": Mutant(
        "if (lane < split.tail) add_element", "if (lane <= split.tail) add_element"
    ),
    "vectors at any address": Mutant("if (head > count) head = count;", "head = 0;", "memory"),
    "a row of vectors too many in a sum": Mutant("i + 3 * kWarp < split.vectors", "i + 2 * kWarp < split.vectors"),
    "a row of vectors too many in a scaling": Mutant(
        "i + 3 * kWarp < split.vectors; i += 4 * kWarp) {", "i + 2 * kWarp < split.vectors; i += 4 * kWarp) {", "memory"
    ),
    "one element too many in a scaling": Mutant(
        "if (lane < split.tail) change_element", "if (lane <= split.tail) change_element", tests="guarded"
    ),
    # numbers
    "f32 squares out of range": Mutant(
        "if (high_of(sum) - kPairsMin >= kPairsEnd - kPairsMin)", "if (false)", tests="out_of_range"
    ),
    "squares that vanish taken for zeros": Mutant(
        "return are_zeros(v, D == kF32 ? 0x7fffffffu : 0x7fff7fffu);", "return true;", tests="out_of_range"
    ),
    "f64 squares out of range": Mutant("    lift(t, other.level);\n", "", tests="out_of_range"),
    "dropped elements that count": Mutant("if (drop) x = 0.0;", "", tests="dropped"),
    "halves of a word exchanged": Mutant("words[i / 2] >> (i & 1) * 16", "words[i / 2] >> (~i & 1) * 16"),
    "zeros not counted": Mutant("s.zeros += x == 0.0", "s.zeros += 0", tests=MEASURE),
    "zeros of vectors not counted": Mutant("s.zeros += zeros;", "", tests="test_ordinary.py::test_lists"),
    "NaN among measured vectors": Mutant(
        "if (largest >= 0x7f800000u) return false;",
        "if (largest == 0x7f800000u) return false;",
        tests="test_each.py::test_measure",
    ),
    "the largest of the last element": Mutant(
        "largest = bits > largest ? bits : largest;", "largest = bits;", tests=MEASURE
    ),
    "the upper bound wins": Mutant(
        "const bool under = below(x, least);",
        "const bool under = !over && below(x, least);",
        tests="test_each.py::test_clip_by_value",
    ),
    "a tiny coefficient in f32": Mutant("return tiny() ?", "return false ?", tests=f"{_OTHER}every_limit"),
    "a tiny coefficient taken for a usual one": Mutant(
        "clip && !drop && !tiny()", "clip && !drop", tests=f"{_OTHER}every_limit"
    ),
    "NaN multiplied instead of dropped": Mutant(
        "clip && !drop && !tiny()", "clip && !tiny()", tests=f"{_OTHER}nan_and_infinity"
    ),
    "memory that is listed twice, scaled twice": Mutant(
        "if (chunk.repeat || !(", "if (!(", tests=f"{_OTHER}memory_that_is_listed_twice_counts_twice_and_is_scaled_once"
    ),
    "an overflowed norm taken for infinite elements": Mutant(
        "nonfinite = total.nonfinite != 0",
        "nonfinite = !is_finite(value(norm))",
        tests=f"{_OTHER}a_finite_norm_beyond_f64_is_not_an_element_that_is_not",
    ),
    "the policy not asked": Mutant("request.policy == Policy::skip", "false", tests=f"{_OTHER}nan_and_infinity"),
    # rows in registers
    "a verdict that is read before it is there": Mutant(
        "        __syncthreads();\n        const Coefficient by = scratch",
        "        const Coefficient by = scratch",
        tests="test_rows.py::test_the_bits_of_rows_depend_on_the_rows_alone",
    ),
    "vectors of a row out of range, left out": Mutant(
        "missed >> k; ++k)", "missed >> k && false; ++k)", tests="test_rows.py::test_rows_out_of_range_and_not_finite"
    ),
    "vectors of short rows out of range, another row's": Mutant(
        "at + k * group(), 1, false", "at + k * kWarp, 1, false", tests=ODD_ROWS
    ),
    "another row's scale": Mutant("__shfl_sync(kEveryLane, t.level, lane)", "t.level", tests=ODD_ROWS),
    "rows of tiny f64 squared as they are": Mutant("D == kF64 ? kGrown : kPlain", "kPlain", tests=ODD_ROWS),
    "a row's first elements not written": Mutant(
        "i < split.head; i += group())", "i < 0; i += group())", tests="test_rows.py::test_rows_at_any_address"
    ),
    "elements of a row before the first vector, for one lane each": Mutant(
        "i < split.head; i += group())",
        "i < split.head; i += kEveryLane / 2)",
        tests="test_rows.py::test_rows_at_any_address",
    ),
    "rows of another block": Mutant(
        "gridDim.x * kWarps * at_once", "gridDim.x * at_once", tests="test_rows.py::test_rows_at_any_address"
    ),
    "the total of another row of the warp": Mutant(
        "lane & ~(rows.lanes - 1)", "0", tests="test_rows.py::test_rows_at_any_address"
    ),
    "a row that is not there": Mutant(
        "mine ? rows.count : 0", "rows.count", "memory", "test_rows.py::test_rows_at_any_address"
    ),
    "rows above the limit taken for rows within": Mutant(
        "total.hi <= rows.within", "total.hi <= 1.0001 * rows.within", tests="test_rows.py::test_rows_at_the_limit"
    ),
    "a sum at another scale taken for one within": Mutant(
        "total.level != kShrunk && ", "", tests="test_rows.py::test_rows_at_the_limit"
    ),
    "the totals of a row's warps read before they are there": Mutant(
        "scratch.warps[warp] = t;\n        __syncthreads();\n        if (threadIdx.x == 0) {",
        "scratch.warps[warp] = t;\n        if (threadIdx.x == 0) {",
        tests="test_rows.py::test_the_bits_of_rows_depend_on_the_rows_alone",
    ),
    "zeros of f32 that bring f64 down": Mutant(
        "sum == 0.0 ? kGrown : kPlain", "kPlain", tests="test_rows.py::test_zeros_do_not_bring_tiny_numbers_down"
    ),
    # rows in shared memory, and clusters
    "totals of chunks read before they are there": Mutant(
        "        kept.meet();\n        kept.judge_row", "        kept.judge_row", tests=KEPT
    ),
    "a verdict of shared memory read before it is there": Mutant(
        "        kept.meet();  // and nobody", "        // and nobody", tests=KEPT
    ),
    "a cluster's block that ends while others read it": Mutant(
        "        kept.meet();  // and nobody", "        __syncthreads();  // and nobody", tests=KEPT
    ),
    "a barrier of the block for the cluster": Mutant(
        "            cluster_barrier();\n", "            __syncthreads();\n", tests=KEPT
    ),
    "a barrier that one warp leaves out": Mutant(
        "        kept.meet();\n        kept.judge_row",
        "        if (kept.warp != 1) kept.meet();\n        kept.judge_row",
        tests=KEPT,
    ),
    "the totals of another block": Mutant(
        "return {of_rank(&t->hi, c % kRanks)", "return {of_rank(&t->hi, (c + 1) % kRanks)", tests=KEPT
    ),
    "a chunk of the cluster that nobody adds": Mutant(
        "k * kRanks + rank < rows.chunks;", "(k + 1) * kRanks <= rows.chunks;", tests=KEPT
    ),
    "room for a chunk too few": Mutant("(rows.chunks + kRanks - 1) / kRanks *", "rows.chunks / kRanks *", tests=KEPT),
    "the last chunk as long as the others": Mutant("left < per ? left : per", "left < per ? per : per", tests=KEPT),
    "vectors kept over others": Mutant("to[i + n * kWarp] = v[n]", "to[i + n] = v[n]", tests=KEPT),
    "the same row for every cluster": Mutant("row = blockIdx.x / kRanks;", "row = 0;", tests=KEPT),
    "rows within the limit written": Mutant(
        "        if (!kept.by->clip) continue;\n        const Scale op(*kept.by);",
        "        Coefficient all = *kept.by;\n        all.clip = true;\n        const Scale op(all);",
        tests="test_kept_rows.py::test_rows_within_the_limit_are_not_written",
    ),
    # columns
    "totals of warps read before they are there": Mutant(
        "scratch.totals[warp][lane] = t[j];\n        __syncthreads();",
        "scratch.totals[warp][lane] = t[j];",
        tests=COLUMNS,
    ),
    "totals of warps written before they are read": Mutant(
        "column + j] = all;\n        }\n        __syncthreads();", "column + j] = all;\n        }", "threads", COLUMNS
    ),
    "a strip's counter that stays": Mutant(
        "if (threadIdx.x == 0) atomicExch(c.counters + strip, 0u);", "", tests=COLUMNS
    ),
    "a strip ended by a slab too early": Mutant(
        "c.counters + strip, task.slabs, scratch", "c.counters + strip, task.slabs - 1, scratch", tests=COLUMNS
    ),
    "the last slab not added": Mutant("s < task.slabs; ++s", "s + 1 < task.slabs; ++s", tests=COLUMNS),
    "pairs of a column out of range": Mutant(
        "if (high_of(sum) - kPairsMin < kPairsEnd - kPairsMin) return add_plain",
        "return add_plain",
        tests="test_columns.py::test_columns_out_of_range_and_not_finite",
    ),
    "tiny columns taken for zeros": Mutant(
        "if ((bits_of(x(0)) |",
        "if (sum == 0.0 || (bits_of(x(0)) |",
        tests="test_columns.py::test_columns_of_subnormal_numbers",
    ),
    "another column's coefficient": Mutant(
        "c.verdicts[share.column + j]", "c.verdicts[share.column + (j ^ (W > 1))]", tests=COLUMNS
    ),
    "rows of the next warp": Mutant("rows = left < c.share ? left : c.share;", "rows = left;", tests=COLUMNS),
    # sums over examples
    "the first example's coefficient for all": Mutant(
        "verdicts[b].by);", "verdicts[0].by);", tests="test_rows.py::test_examples"
    ),
    "one coefficient for two examples": Mutant(
        "verdicts[b + k].by", "verdicts[b].by", tests="test_rows.py::test_examples"
    ),
    "examples behind the last pair not added": Mutant(
        "for (; b < examples; ++b) add_vector", "for (; b < 0; ++b) add_vector", tests="test_rows.py::test_examples"
    ),
    "vectors of examples at any distance": Mutant(
        "(i64)out | step) &", "(i64)out) &", "memory", "test_rows.py::test_sums_of_examples_in_vectors_and_out_of_line"
    ),
    "elements behind the vectors not added": Mutant(
        "i = vectors * kPerVector<D> + lane; i < count;",
        "i = vectors * kPerVector<D> + lane; i < vectors;",
        tests="test_rows.py::test_sums_of_examples_in_vectors_and_out_of_line",
    ),
    # PyTorch's rule
    "PyTorch's coefficient in f64": Mutant(
        "if (D == kF64 || (", "if (true || (", tests="test_torch.py::test_a_norm_that_is_known_is_read_on_the_device"
    ),
    "an error that is written": Mutant(
        "if (nonfinite && request.policy == Policy::raise) c = 1.0;",
        "",
        tests="test_torch.py::test_norms_that_are_an_error_write_nothing",
    ),
}


def mutated(source):
    """Give a module the defect that the environment names."""
    name = os.environ.get("FASTCLIP_MUTANT")
    return MUTANTS[name].apply(source) if name else source
