# SPDX-License-Identifier: BSD-3-Clause
"""The order of the CUDA sources: real files that need no header, named kernels, one text for each module."""

import re
from pathlib import Path

import build
import pytest

import fastclip
from fastclip._backends.cuda.source import MODULES, source

FOLDER = Path(fastclip.__file__).parent / "_cuda"
FILES = sorted(p for p in FOLDER.iterdir() if p.suffix in (".cu", ".cuh"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_source_needs_no_header_but_our_own(path):
    text = path.read_text("utf-8")
    assert "#include <" not in text
    for included in re.findall(r'#include "([^"]+)"', text):
        assert (FOLDER / included).is_file() or included in ("core/rule.hpp", "core/sum.hpp", "core/torch_rule.hpp")
    assert "asm(" not in text or path.name == "ptx.cuh"  # the emulator defines what that file does


def test_the_list_of_kernels_is_that_of_the_sources():
    found = {p.stem: build.names(p.read_text("utf-8")) for p in FILES if p.suffix == ".cu"}
    assert found == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_one_text(module):
    text = source(module)
    assert "#include" not in text
    assert "#pragma once" not in text
    for part in ("core/sum.hpp", "core/rule.hpp", "ptx.cuh", "common.cuh", f"{module}.cu"):
        assert text.count(f'#line 1 "{part}"') == 1


def test_errors_point_to_the_line_of_the_file():
    lines = source("reduce").splitlines()
    for i, line in enumerate(lines):
        if match := re.fullmatch(r'#line (\d+) "(\w+\.cuh?)"', line):
            original = (FOLDER / match[2]).read_text("utf-8").splitlines()
            at = int(match[1]) - 1
            assert lines[i + 1] == original[at] or original[at].startswith("#")


@pytest.mark.parametrize("path", sorted(FOLDER.parent.rglob("*.py")), ids=lambda p: p.name)
def test_no_python_string_holds_a_kernel(path):
    assert "__global__" not in path.read_text("utf-8")
