# SPDX-License-Identifier: BSD-3-Clause
"""A record comes back as it was written, and a file that holds none is named with what it lacks."""

import json

import benchrecords
import pytest

from fastclip._bench.record import RecordError, load


def test_a_record_comes_back(tmp_path):
    made = benchrecords.record()
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made))
    assert load(path) == made


def _without(key):
    made = benchrecords.record()
    del made[key]
    return json.dumps(made)


def _row_without(key):
    made = benchrecords.record()
    del made["rows"][1][key]
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[]", "is no record"),
        ('{"operations": []}', "is no record of `fastclip bench --json FILE`"),
        ('{"schema": 2}', "has schema 2; this fastclip reads 1"),
        (_without("bandwidth"), "the record has no bandwidth"),
        (_row_without("seconds"), r"rows\[1\] has no seconds"),
        ('{"schema": 1}', "has no environment, bandwidth, rows"),
    ],
)
def test_a_file_that_holds_none(tmp_path, text, said):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=said) as error:
        load(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecordError, match=r"none\.json cannot be read: No such file"):
        load(tmp_path / "none.json")
