# SPDX-License-Identifier: BSD-3-Clause
"""The record of a run of `fastclip bench`, as it stands in the JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

SCHEMA = 1


class Row(TypedDict):
    """Hold the times of all peers, and of the limit, for one operation on one workload."""

    workload: str
    arrays: int
    bytes: int
    dtype: str
    operation: str
    threads: int
    cache: Literal["warm", "cold"]
    sweep: Literal["size", "threads", "cache"] | None
    rounds: int
    retaken: int
    disturbed: int
    limit_loops: dict[str, str]  # which loop was the limit, for each pass
    calls_per_sample: dict[str, int]
    seconds: dict[str, list[float]]  # "limit" and "streams", where there are any, then fastclip and its peers
    noise: float
    errors: dict[str, float | None]  # of the norm, relative; None with a reason in `wrong` is no finite number
    wrong: dict[str, str]


class Accuracy(TypedDict):
    """Hold the relative errors of the norms that all peers report of the same data."""

    case: str
    group: Literal["size", "hard"]
    elements: int
    dtype: str
    exact: float
    errors: dict[str, float | None]
    wrong: dict[str, str]


class Record(TypedDict):
    """Hold a run: where, how fast, how right, and who was missing."""

    schema: int
    environment: dict[str, Any]
    bandwidth: dict[str, dict[str, float]]  # by "read", "write", "copy", then threads: GB of data per second
    rows: list[Row]
    accuracy: list[Accuracy]
    failed: dict[str, str]  # the rows that could not be measured, and why
    missing: dict[str, str]  # the peers that took no part, and why, or the command that installs them
    interrupted: bool


class RecordError(ValueError):
    """Say that a file holds no record, and what it holds instead."""


def _check_keys(path: Path, what: str, found: Any, wanted: type) -> None:
    keys = found if isinstance(found, dict) else {}
    absent = [key for key in wanted.__annotations__ if key not in keys]
    if absent:
        raise RecordError(f"{path}: {what} has no {', '.join(absent)}. Make another with `fastclip bench --json FILE`.")


def load(path: Path) -> Record:
    """Read a record; raise RecordError if the file holds none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RecordError(f"{path} is no JSON: {error}.") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema is None:
        raise RecordError(f"{path} is no record of `fastclip bench --json FILE`: it names no schema.")
    if schema != SCHEMA:
        raise RecordError(f"{path} has schema {schema!r}; this fastclip reads {SCHEMA}.")
    _check_keys(path, "the record", found, Record)
    for part, wanted in (("rows", Row), ("accuracy", Accuracy)):
        for i, entry in enumerate(found[part]):
            _check_keys(path, f"{part}[{i}]", entry, wanted)
    return cast(Record, found)
