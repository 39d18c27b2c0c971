# SPDX-License-Identifier: BSD-3-Clause
"""Make the benchmarks importable: they are no part of the installed package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
