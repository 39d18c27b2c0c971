# SPDX-License-Identifier: BSD-3-Clause
"""Make the benchmarks importable: they are no part of the installed package."""

import os
import sys
from pathlib import Path

import pytest

from fastclip._bench.peers import PEERS

sys.path.append(str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def need():
    """Skip the test if a peer cannot run here; fail where the extra `peers` is said to be installed but is not."""

    def skip(name):
        if lacks := PEERS[name].lacks:
            assert PEERS[name].gpu or not os.environ.get("FASTCLIP_REQUIRE_PEERS"), f"{name}: {lacks}"
            pytest.skip(f"{name}: {lacks}")

    return skip
