# SPDX-License-Identifier: BSD-3-Clause
"""What the build does, read from its own files, for tests that compile parts of it by themselves."""

import os
import re
import shutil
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"
BASE = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-DNDEBUG", f"-I{CSRC}"]


def cmake_lists(path, processor):
    """The variables that a CMake file has for one CMAKE_SYSTEM_PROCESSOR, their own references filled in."""
    text = re.sub(r"#.*", "", path.read_text("utf-8"))

    def block(match):
        return match[3] if bool(re.search(match[2], processor)) is not bool(match[1]) else ""

    text = re.sub(r'if\((NOT )?CMAKE_SYSTEM_PROCESSOR MATCHES "(\S+)".*\n((?s:.*?))endif\(\)', block, text)
    found = {}
    for verb, variable, values in re.findall(r"\b(set|list\(APPEND|list\(REMOVE_ITEM)[( ](\w+) ([^)]*)\)", text):
        filled = re.sub(r"\$\{(\w+)\}", lambda m: " ".join(found[m[1]]), values.replace('""', "")).split()
        before = found.get(variable, [])
        if verb.endswith("REMOVE_ITEM"):
            found[variable] = [value for value in before if value not in filled]
        else:
            found[variable] = [*(before if verb.endswith("APPEND") else []), *filled]
    return found


def rows(processor):
    """The ISAs of a processor, worst to best, and the compiler flags of each one's kernels."""
    found = cmake_lists(CSRC / "isa" / "isas.cmake", processor)
    return {isa: [f"-DFASTCLIP_ISA={isa}", *found[f"FASTCLIP_FLAGS_{isa}"]] for isa in found["FASTCLIP_ISAS"]}


def options(processor):
    """The compiler flags of every file of the extension."""
    found = cmake_lists(CSRC / "CMakeLists.txt", processor)
    return [*BASE, *found["COMMON_OPTIONS"], *found["HARDENING_OPTIONS"]]


def compiler():
    """The command that compiles for this machine."""
    return (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")).split()
