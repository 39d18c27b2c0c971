# SPDX-License-Identifier: BSD-3-Clause
"""The published page says what the published run says."""

import json

from benchmarks.page import PAGE, RESULT, render


def test_performance_page_is_made_from_the_published_run():
    assert PAGE.read_text() == render(json.loads(RESULT.read_text()))
