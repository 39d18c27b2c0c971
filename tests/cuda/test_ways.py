# SPDX-License-Identifier: BSD-3-Clause
"""The same tests under sanitizers and with seeded defects; which lines of the CUDA sources they run."""

import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

import pytest
import ways
from mutants import MUTANTS

import fastclip
from fastclip._backends.cuda.source import MODULES, source

HERE = Path(__file__).resolve().parent
CUDA = Path(fastclip.__file__).parent / "_cuda"
#: lines for elements one by one, in their files
SLOW = (
    ("total.cuh", "add_element<D>(t, elements[j], drop);"),
    ("columns.cu", "add_element<D>(t, one.get(0), false);"),
    ("measure.cu", "measure_element<D>(s, elements[j]);"),
    ("change.cuh", "i--;) change_element<D>("),
)


@pytest.fixture(scope="module")
def sanitized():
    """Both sanitizers' runs, side by side: 30 and 40 seconds."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {way: pool.submit(ways.run, way) for way in ("memory", "threads")}


@pytest.mark.parametrize("way", ["memory", "threads"])
def test_sanitizers_have_nothing_to_say(way, sanitized):
    code, output = sanitized[way].result()
    assert code == 0, output[-4000:]
    assert "Sanitizer" not in output


def line(file, text):
    """The number of the one line that has this text."""
    (number,) = (i for i, line in enumerate((CUDA / file).read_text().splitlines(), 1) if text in line)
    return number


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """A folder of builds that count how often each line is executed."""
    return tmp_path_factory.mktemp("counting")


def executed(counting, *names, select=""):
    """Run tests; return how often they execute each line of the CUDA sources."""
    for data in counting.glob("*.gcda"):
        data.unlink()
    files = [str(HERE / f"test_{name}.py") for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", select, *files],
        env={
            **ways.os.environ,
            "FASTCLIP_EMULATOR_FOLDER": str(counting),
            "FASTCLIP_EMULATOR_FLAGS": "-O0 --coverage",
        },
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    counts = {}
    for data in counting.glob("*.gcda"):
        report = subprocess.run(
            ["gcov", "--json-format", "--stdout", data.name],
            cwd=counting,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for line in report.stdout.splitlines():
            for file in json.loads(line)["files"]:
                if file["file"].endswith((".cu", ".cuh")):
                    for at in file["lines"]:
                        key = (file["file"], at["line_number"])
                        counts[key] = counts.get(key, 0) + at["count"]
    return counts


def test_ordinary_numbers_go_no_slow_way(counting):
    """Results alone do not tell: what the slow ways return is right, too."""
    counts = executed(counting, "ordinary")
    found = {text: counts[file, line(file, text)] for file, text in SLOW}
    assert found == dict.fromkeys(found, 0)


def test_rows_within_the_limit_take_no_root(counting):
    assert executed(counting, "ordinary", select="within")["rows.cuh", line("rows.cuh", "return judge(")] == 0


def test_every_line_of_every_kernel_is_run(counting):
    names = ("schedules", "list", "each", "rows", "kept_rows", "columns", "torch")
    counts = executed(counting, *names)
    assert {file for file, _ in counts} >= {f"{module}.cu" for module in MODULES}
    assert [key for key, count in sorted(counts.items()) if not count] == []


def test_seeded_defects_change_a_source():
    """One that does not is a mistake in the list: its text is no longer there."""
    sources = list(map(source, MODULES))
    assert [n for n, m in MUTANTS.items() if not any(m.apply(s) != s for s in sources)] == []


def test_seeded_defects_are_noticed(record_property):
    """Each by the way of running that is meant for it."""
    assert len(MUTANTS) >= 18
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = {n: pool.submit(ways.run, m.run, m.tests, FASTCLIP_MUTANT=n) for n, m in MUTANTS.items()}
        survivors = [n for n, future in running.items() if future.result()[0] in ways.NOTHING_NOTICED]
    noticed = len(MUTANTS) - len(survivors)
    record_property("said", f"{noticed} of {len(MUTANTS)} seeded defects in the CUDA sources were noticed")
    assert survivors == []
