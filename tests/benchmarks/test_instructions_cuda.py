# SPDX-License-Identifier: BSD-3-Clause
"""The model of the CUDA kernels: `benchmarks/instructions_cuda.py --update` after a change to them."""

import json

import pytest
from benchmarks import instructions_cuda as model
from benchmarks.sass import Instruction, Loop, hot_trip, instructions, loops, successors

NORM, SCALE = model.KERNELS[:2]

# A loop of two vectors, in it one of shuffles and one that only what is out of range enters; a shorter way with one
# vector; behind the end a jump to itself, as the assembler puts it there.
SASS = """
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_0:
        /*0010*/              @!P1 BRA `(.L_x_4) ;
        /*0020*/                   LDG.E.128.CONSTANT R4, desc[UR8][R34.64] ;
        /*0030*/                   LDG.E.128.CONSTANT R8, desc[UR8][R34.64] ;
        /*0040*/                   F2F.F64.F32 R2, R4 ;
        /*0050*/                   BRA.DIV UR6, `(.L_x_9) ;
.L_x_1:
        /*0060*/                   SHFL.DOWN PT, R4, R38, R0, 0x1f ;
        /*0070*/               @P4 BRA `(.L_x_1) ;
        /*0080*/               @P0 BRA `(.L_x_3) ;
.L_x_2:
        /*0090*/                   DMUL R6, R6, 2 ;
        /*00a0*/              @!P4 BRA P5, `(.L_x_2) ;
.L_x_3:
        /*00b0*/               @P2 FADD R6, R6, 2 ;
        /*00c0*/                   BRA `(.L_x_5) ;
.L_x_4:
        /*00d0*/                   LDG.E.128.CONSTANT R4, desc[UR8][R34.64] ;
.L_x_5:
        /*00e0*/               @P0 BRA `(.L_x_0) ;
        /*00f0*/                   EXIT ;
.L_x_9:
        /*0100*/                   BRA `(.L_x_9);
"""


def test_the_page_has_the_published_run_and_that_is_of_these_kernels():
    run = json.loads(model.RESULT.read_text())
    assert run["kernels"] == model.digest()
    page = model.PAGE.read_text()
    assert page == model.fill(page, run)
    assert len(run["trips"]) == len(model.CHIPS) * len(model.DTYPES) * len(model.KERNELS)
    with pytest.raises(ValueError, match=r"gpu\.md: expected <!-- model:begin -->"):
        model.fill("", run)


def test_loops_are_found_one_in_another():
    code, labels = instructions(SASS)
    following = dict(enumerate(successors(code, labels)))
    (outer,) = loops({i: following[i] for i in range(16)}, following)
    assert isinstance(outer, Loop)
    assert outer.nodes == set(range(1, 15))
    assert sorted(map(len, (loop.nodes for loop in outer.inner))) == [2, 2]
    assert following[5] == [6]  # lanes stay together
    assert following[10] == [11, 9]  # `BRA P5`, without an @, depends on P5, too
    assert following[12] == [14]


@pytest.mark.parametrize("trips", [0, 5])
def test_a_trip_has_most_vectors_and_no_more_of_the_inner_loops_than_they_are_made(trips):
    counts = hot_trip(SASS, {"SHFL": trips} if trips else {})
    assert counts["LDG.E.128.CONSTANT"] == 2
    assert counts["SHFL.DOWN"] == trips
    assert counts["DMUL"] == 0  # there is a way around
    assert counts["BRA"] == 4 + trips
    assert counts["FADD"] == 1  # issued, whatever the predicate
    assert sum(counts.values()) == 2 + 1 + 1 + 1 + 4 + 2 * trips


def test_a_way_that_is_avoided_is_not_taken():
    assert hot_trip(SASS, avoided="F2F.*")["LDG.E.128.CONSTANT"] == 1
    with pytest.raises(ValueError, match=r"^no way through a loop of 14 instructions avoids 'LDG\.\*'"):
        hot_trip(SASS, avoided="LDG.*")


def test_a_kernel_without_such_a_loop_is_refused():
    with pytest.raises(ValueError, match=r"^no loop has LDG\.E\.128, in 17 instructions"):
        hot_trip(SASS.replace("LDG.E.128", "LDG.E.64"))
    with pytest.raises(ValueError, match=r"^no loop has LDG\.E\.128, in 1 instructions"):
        hot_trip("        /*0000*/                   EXIT ;")


@pytest.mark.parametrize(
    ("opcode", "unit"),
    [
        ("DFMA", "f64"),
        ("F2F.F64.F32", "f64 conversion"),
        ("F2F.F16.F32", "f32"),
        ("HADD2.F32", "f32"),
        ("LDG.E.128.CONSTANT", "memory"),
        ("IMAD.MOV.U32", "other"),
    ],
)
def test_units(opcode, unit):
    assert Instruction(opcode, False, None).unit == unit


@pytest.mark.parametrize(("dtype", "per_vector"), [("f32", 4), ("f16", 8)])
def test_what_the_source_asks_for_is_counted(dtype, per_vector):
    """Four vectors a trip; each two elements of a sum cost a product and a fused one, each four bytes a conversion."""
    code = model.compiled("reduce", 90, dtype) | model.compiled("transform", 90, dtype)
    trip = hot_trip(code["norm_list"])
    assert sum(n for opcode, n in trip.items() if opcode.startswith("LDG.E.128")) == 4
    assert trip["FMUL"] == trip["FFMA"] == 4 * per_vector // 2
    assert trip["F2F.F64.F32"] == 4 * 2
    counted = model.count(NORM, code["norm_list"])
    assert sum(counted["instructions"].values()) == sum(trip.values())
    assert (counted["loads"], counted["stores"]) == (4, 0)
    scaling = model.count(SCALE, code["scale"])
    assert (scaling["loads"], scaling["stores"]) == (4, 4)
    assert hot_trip(code["scale"])["FMUL"] == 4 * per_vector

    run = json.loads(model.RESULT.read_text())
    if run["compiler"] == f"NVRTC {model.nvrtc().compiler_for(90).version}":
        published = {(row["arch"], row["dtype"], row["kernel"]): row for row in run["trips"]}
        for row in (counted, scaling):
            assert published[90, dtype, row["kernel"]] == {"arch": 90, "dtype": dtype, **row}
