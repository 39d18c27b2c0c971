# SPDX-License-Identifier: BSD-3-Clause
"""The drop-in modules, imported with the libraries that they stand in for, which warn of each other."""

import importlib
import warnings

NAMES = ("cuda", "flwr", "keras", "optax", "tensorflow", "thinc", "torch")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MODULES = [importlib.import_module(f"fastclip.{name}") for name in NAMES]
