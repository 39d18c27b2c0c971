# SPDX-License-Identifier: BSD-3-Clause
"""What every test shares: the instruction sets, the restored configuration, and the settings of Hypothesis."""

import hypothesis
import pytest

import fastclip

# A fixture that only names an ISA may be shared by the examples of one property.
hypothesis.settings.register_profile(
    "fastclip",
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fastclip")


def pytest_terminal_summary(terminalreporter):
    """Print what tests have to say: under xdist they run in processes whose output nobody sees."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "said" and report.when == "call":
                terminalreporter.write_line(value)


@pytest.fixture(params=fastclip.show_config()["isas"])
def isa(request):
    """Run the test once on each ISA that this CPU has; its name."""
    fastclip.set_isa(request.param)
    return request.param


@pytest.fixture(autouse=True)
def _restore_configuration():
    """Give the next test the ISA and the number of threads that this one found."""
    before = fastclip.show_config()
    yield
    if before["backend"] == "native":
        fastclip.set_isa(before["isa"])
        fastclip.set_num_threads(before["threads"])
