# SPDX-License-Identifier: BSD-3-Clause
"""A drop-in without what it stands in for says what to install; a broken installation speaks for itself."""

import os
import subprocess
import sys

import pytest
from scripts import PACKAGES

REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError("there is no " + name, name=name)
sys.meta_path.insert(0, Refuse())
import fastclip
fastclip.{module}
"""


def last_line(module, missing):
    run = subprocess.run(
        [sys.executable, "-c", REFUSE.format(module=module, missing=missing)],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        ("flwr", "flwr"),
        ("keras", "keras"),
        ("optax", "jax"),
        ("optax", "optax"),
        ("tensorflow", "tensorflow"),
        ("thinc", "thinc"),
        ("torch", "torch"),
    ],
)
def test_what_is_missing_is_said(module, missing):
    says = f"fastclip.{module}: {missing} is not installed: pip install {missing}"
    assert last_line(module, missing) == f"ModuleNotFoundError: {says}"


@pytest.mark.parametrize(("module", "missing"), [("optax", "absl"), ("thinc", "srsly"), ("torch", "torch.nn")])
def test_what_a_broken_installation_says_is_left(module, missing):
    assert missing in last_line(module, missing)
    assert "pip install" not in last_line(module, missing)
