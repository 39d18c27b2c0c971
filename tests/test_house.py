# SPDX-License-Identifier: BSD-3-Clause
"""The order of the house: who may import whom, how long a file is, what is documented, what a compiled kernel holds."""

import ast
import dataclasses
import doctest
import inspect
import re
import sys
from importlib import metadata
from pathlib import Path

import dropins
import pytest

import fastclip
from fastclip import _core

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CSRC = ROOT / "python" / "fastclip", ROOT / "csrc"


def files(*suffixes):
    """Every file of the project with one of these endings; what is built or cached is none."""
    tops = ["csrc", "python", "tests", "benchmarks", "docs", ".ci"]
    inside = [p for top in tops for p in sorted((ROOT / top).rglob("*"))]
    every = [*(p for p in sorted(ROOT.iterdir()) if p.name != ".git"), *inside]
    return [p for p in every if p.is_file() and "__pycache__" not in p.parts and name(p).endswith(suffixes)]


def name(path):
    return path.relative_to(ROOT).as_posix()


PYTHON = sorted(PACKAGE.rglob("*.py"))
CPP = files(".cpp", ".hpp")
SOURCES = files(".py", ".pyi", ".cpp", ".hpp", ".cu", ".cuh", ".cmake", "CMakeLists.txt", "Makefile", ".ci/run")
TEXT = [*SOURCES, *files(".txt", ".md", ".toml", ".yaml", ".yml", ".json", ".csv", ".svg", "LICENSE")]


def test_the_lists_above_are_not_empty():
    assert len(PYTHON) > 20
    assert len(CPP) > 20
    assert {"Makefile", "CMakeLists.txt", "csrc/isa/isas.cmake", "tests/oracle.py"} <= set(map(name, SOURCES))
    assert {"README.md", "pyproject.toml", ".ci/run"} <= set(map(name, TEXT))


# ---- Python's imports

# the part of the package: the parts it may import
OPTIMIZERS = {"torch", "tensorflow", "keras"}  # frameworks that have some; wrapped when one is met
MAY_IMPORT = {
    "_rules": set(),
    "_dtypes": set(),
    "_errors": {"_dtypes"},
    "_layout": set(),
    "_overlap": {"_layout"},
    "_device": {"_dlpack", "_dtypes", "_errors", "_overlap"},
    "_dlpack": set(),
    "_known": {"_device"},
    "_foreign": {"_config", "_errors", "_layout"},
    "_arrays": {"_config", "_device", "_dtypes", "_errors", "_foreign", "_known", "_layout", "_overlap"},
    "_backends": {"_core", "_device", "_dtypes", "_known", "_layout", "_rules"},
    "_config": {"_backends", "_core"},
    "_api": {"_arrays", "_backends", "_config", "_device", "_dtypes", "_errors", "_layout", "_overlap", "_rules"}
    | OPTIMIZERS,
    "_patch": {"_errors"},  # and the drop-ins, by name and when one is asked for
    "__init__": {"_api", "_config", "_patch"},
    "__main__": {"_cli"},
    "_cli": {"", "_bench", "_demo", "_patch"},
    "_bench": {"", "torch", "tensorflow", "optax", "flwr", "thinc"},
    "_demo": {""},
    "cuda": {"_arrays", "_config", "_errors", "_rules"},
    "numpy": {"_api"},
    "torch": {"_config", "_dtypes", "_errors"},
    "tensorflow": {"_config", "_dtypes", "_errors", "_rules"},
    "keras": {"", "_dtypes", "_errors", "tensorflow", "torch"},
}
MAY_IMPORT |= {"flwr": {"_config", "_errors", "_rules"}}
MAY_IMPORT |= {name: {"_config", "_errors"} for name in ("optax", "thinc")}
THIRD_PARTY = {
    "_rules": set(),
    "_cli": set(),
    "_patch": set(),
    "__init__": set(),
    "__main__": set(),
    "_foreign": {"numpy", "ml_dtypes"},
}
THIRD_PARTY |= {"_device": {"numpy", "cupy", "ml_dtypes"}, "torch": {"numpy", "ml_dtypes", "torch"}}
THIRD_PARTY |= {"tensorflow": {"numpy", "tensorflow"}, "keras": {"numpy", "keras", "torch", "jax"}}
THIRD_PARTY |= {"thinc": {"thinc"}, "optax": {"numpy", "jax", "optax"}}
THIRD_PARTY |= {"_demo": {"numpy", "sklearn", "matplotlib", "rich"}}
THIRD_PARTY["_bench"] = {"numpy", "scipy", "torch", "tensorflow", "jax", "optax", "numba", "thinc", "opacus"}
THIRD_PARTY["_bench"] |= {"cupy", "rich", "matplotlib"}


def imports(path):
    """Yield the full name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: a relative import"
            if node.module == "fastclip":
                yield from (f"fastclip.{alias.name}" for alias in node.names)
            else:
                yield node.module


def part(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_part_imports_only_what_stands_below_it(path):
    own = part(path)
    for module in imports(path):
        top, _, rest = module.partition(".")
        below = rest.partition(".")[0]
        if top == "fastclip":
            assert below == own or below in MAY_IMPORT[own], f"{own} imports {module}"
        elif top not in sys.stdlib_module_names:
            allowed = THIRD_PARTY.get(own, {"numpy"})
            assert top in allowed, f"{own} imports {module}"


def test_only_two_modules_know_the_native_one():
    users = {name(p) for p in PYTHON if "fastclip._core" in imports(p)}
    assert users == {"python/fastclip/_backends/cpu.py", "python/fastclip/_config.py"}


def test_every_part_has_its_rule():
    assert {part(p) for p in PYTHON} == set(MAY_IMPORT)


# ---- C++'s includes

MAY_INCLUDE = {
    "core": {"core"},
    "kernels": {"kernels", "core"},
    "isa": {"isa", "core"},
    "engine": {"engine", "isa", "core"},
    "bindings": {"bindings", "engine", "isa", "core"},
    "limit": {"limit"},  # plain loops to compare with, a library of its own
}
# No header with functions in kernels: what is inlined there may be compiled for AVX-512 and kept for every CPU.
KERNEL_HEADERS = {"cstdint", "immintrin.h", "arm_neon.h"}
INTRINSICS_ELSEWHERE = {"_mm_getcsr", "_mm_setcsr", "_mm_pause"}


@pytest.mark.parametrize("path", [p for p in CPP if CSRC in p.parents], ids=name)
def test_a_folder_includes_only_what_stands_below_it(path):
    text = path.read_text("utf-8")
    folder = path.relative_to(CSRC).parts[0]
    for included in re.findall(r'#include "([^"]+)"', text):
        if included == "isas.inc":
            assert folder == "isa"
        else:
            assert included.partition("/")[0] in MAY_INCLUDE[folder], included
            assert (CSRC / included).is_file(), included
    for included in re.findall(r"#include <([^>]+)>", text):
        assert folder == "bindings" or not included.startswith(("pybind11", "Python.h")), included
        assert folder != "kernels" or included in KERNEL_HEADERS, included
    if "simd" not in path.parts and folder != "limit":
        assert set(re.findall(r"\b_mm\d*_\w+", text)) <= INTRINSICS_ELSEWHERE
    assert "py::array_t" not in text  # copies what it can't take, and the writes are lost


@pytest.mark.parametrize("header", ["core/rule.hpp", "core/sum.hpp"])
def test_the_evaluator_needs_no_standard_header(header):
    assert "#include <" not in (CSRC / header).read_text("utf-8")


# ---- files


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_source_file_is_short_and_has_its_licence(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 300
    if lines:  # an empty __init__.py says nothing
        assert any("SPDX-License-Identifier: BSD-3-Clause" in line for line in lines[:2])


@pytest.mark.parametrize("path", TEXT, ids=name)
def test_nothing_names_the_machine_that_it_was_written_on(path):
    text = path.read_text("utf-8")
    assert not re.search(r"(?<![\w.}])/(work|root|home|tmp/fc)\b", text)


@pytest.mark.parametrize("path", [p for p in TEXT if p.name in ("CMakeLists.txt", "isas.cmake", "pyproject.toml")])
def test_no_flag_gives_up_exact_arithmetic_or_other_cpus(path):
    text = path.read_text("utf-8")
    assert not re.search(r"-ffast-math|-Ofast|-funsafe|-fassociative|-march=native|-mtune=native|-fopenmp", text)


def test_versions_are_equal():
    (version,) = re.findall(r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert fastclip.__version__ == _core.__version__ == fastclip.show_config()["version"] == version
    installed = {d.version for d in metadata.distributions(name="fastclip")}
    assert installed <= {version}


# ---- documentation

PUBLIC = [n for n in fastclip.__all__ if n != "__version__"]
DOCUMENTED = [(module, n) for module in dropins.MODULES for n in module.__all__] + [(fastclip, n) for n in PUBLIC]


def test_the_public_names_are_sorted_and_complete():
    assert fastclip.__all__ == sorted(fastclip.__all__)
    found = {n for n, value in vars(fastclip).items() if not n.startswith("_") and not inspect.ismodule(value)}
    assert found == set(PUBLIC)


@pytest.mark.parametrize(("module", "public"), DOCUMENTED, ids=[f"{module.__name__}.{n}" for module, n in DOCUMENTED])
def test_a_public_name_is_documented(module, public):
    value = getattr(module, public)
    text = inspect.getdoc(value)
    first, _, rest = text.partition("\n")
    assert first.endswith(".")
    assert not rest or rest.startswith("\n")  # one sentence, then a blank line
    everywhere = "\n".join(p.read_text("utf-8") for p in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert re.search(rf"\b{public}\b(?!_)", everywhere), f"neither README.md nor docs/ mentions {public}"
    if dataclasses.is_dataclass(value):
        return
    verb = first.partition(" ")[0]
    assert verb.isalpha()
    assert not verb.endswith(("s", "ed", "ing")), "an imperative"
    assert "\nExample:\n" in text
    assert doctest.DocTestParser().get_examples(text.partition("\nExample:\n")[2])
    for parameter in inspect.signature(value).parameters:
        assert re.search(rf"^    {parameter}: ", text, re.MULTILINE), f"{parameter} is not in Args"
