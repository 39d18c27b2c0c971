# SPDX-License-Identifier: BSD-3-Clause
"""FASTCLIP_ISA, FASTCLIP_BACKEND and FASTCLIP_NUM_THREADS: obeyed, or refused with the choices listed."""

import json
import os
import subprocess
import sys

import pytest

import fastclip

NATIVE = fastclip.show_config()
SHOW = "import json, fastclip; print(json.dumps(fastclip.show_config()))"


def run(**variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTCLIP_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    return subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, timeout=120)


def config(**variables):
    done = run(**variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(**variables):
    """The last line of what a failing import says."""
    done = run(**variables)
    assert done.returncode == 1, done.stdout
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("isa", NATIVE["isas"])
def test_isa_is_obeyed(isa):
    assert config(FASTCLIP_ISA=isa)["isa"] == isa


def test_without_variables_the_best_of_everything_is_taken():
    shown = config()
    assert shown["backend"] == "native"
    assert shown["isa"] == shown["isas"][-1]
    assert shown["threads"] == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert shown["note"] == ""
    assert config(FASTCLIP_ISA="", FASTCLIP_BACKEND="", FASTCLIP_NUM_THREADS="") == shown


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2,baseline", "neon" if "avx2" in NATIVE["isas"] else "avx2"])
def test_an_unknown_isa_is_refused_with_the_choices(name):
    message = refusal(FASTCLIP_ISA=name)
    assert message.startswith("ValueError: ")
    assert f"FASTCLIP_ISA={name}" in message
    for choice in NATIVE["isas"]:
        assert choice in message.split("has:")[1]


def test_an_unknown_backend_is_refused_with_the_choices():
    message = refusal(FASTCLIP_BACKEND="cuda9")
    assert "ValueError: FASTCLIP_BACKEND=cuda9" in message
    assert "native" in message
    assert "reference" in message


def test_the_reference_backend_can_be_chosen_and_says_so():
    shown = config(FASTCLIP_BACKEND="reference")
    assert shown["backend"] == "reference"
    assert shown["isa"] == "none"
    assert "slow" in shown["note"]


@pytest.mark.parametrize(("value", "threads"), [("1", 1), ("3", 3), (" 5 ", 5), ("1000", 256)])
def test_the_number_of_threads_is_obeyed(value, threads):
    assert config(FASTCLIP_NUM_THREADS=value)["threads"] == threads


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "2x", "\N{SUPERSCRIPT TWO}"])
def test_a_wrong_number_of_threads_is_refused(value):
    message = refusal(FASTCLIP_NUM_THREADS=value)
    assert message.startswith("ValueError: ")
    assert f"FASTCLIP_NUM_THREADS={value}" in message
    assert "an integer >= 1" in message


@pytest.mark.parametrize("name", ["sse9", "", "AVX2"])
def test_set_isa_refuses_unknown_names_and_changes_nothing(isa, name):
    with pytest.raises(ValueError, match=rf"set_isa: name={name}.*{NATIVE['isas'][0]}"):
        fastclip.set_isa(name)
    assert fastclip.show_config()["isa"] == isa
