# SPDX-License-Identifier: BSD-3-Clause
import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest

import fastclip
from fastclip import _demo
from fastclip._demo import data, report, train


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the short form as a user would; return the runs, what was printed, and the plot's path."""
    path = tmp_path_factory.mktemp("demo") / "plot.png"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runs = _demo.demo(["rnn", "lstm"], _demo.QUICK_STEPS, 0, path)
    return runs, printed.getvalue(), path


def test_there_are_four_runs_of_each_network(quick):
    runs, _, _ = quick
    clippings = ["none", "by value", "by norm", "by global norm"]
    assert [run.clipping.name for run in runs] == 2 * clippings
    assert [run.network.name for run in runs] == 4 * ["RNN"] + 4 * ["LSTM"]


def test_unclipped_runs_fail_and_their_gradients_explode(quick):
    runs, _, _ = quick
    rnn, lstm = (run for run in runs if run.unclipped)
    assert rnn.stopped_at is not None
    assert rnn.accuracy < 0.3
    assert lstm.accuracy < 0.3
    for run in (rnn, lstm):
        clipped = [other.largest_norm for other in runs if other.network is run.network and not other.unclipped]
        assert run.largest_norm > 5 * max(clipped)


def test_clipped_runs_learn(quick):
    runs, _, _ = quick
    for run in runs:
        if not run.unclipped:
            assert run.accuracy > 0.9, run.name
            assert len(run.losses) == _demo.QUICK_STEPS
            assert all(map(math.isfinite, run.losses + run.norms))
            assert 0 < run.steps_clipped <= len(run.losses)
            assert 0 < run.clipping_seconds < run.training_seconds


def test_all_runs_of_a_network_begin_alike(quick):
    runs, _, _ = quick
    for group in (runs[:4], runs[4:]):
        assert len({run.losses[0] for run in group}) == 1
        assert len({run.norms[0] for run in group}) == 1


def test_what_is_printed_is_what_was_seen(quick):
    runs, printed, path = quick
    rows = [line.split() for line in printed.splitlines()]
    for run in runs:
        row = [run.network.name, *run.clipping.name.split(), f"{run.accuracy:.3f}", report._short(run.largest_norm)]
        row += ["-"] if run.unclipped else [f"{run.steps_clipped}/{len(run.losses)}"]
        assert row in [words[: len(row)] for words in rows]
    assert f"stopped being finite at step {runs[0].stopped_at}" in printed
    assert report.verdict(runs) in printed
    assert str(path) in printed


def test_the_plot_is_a_png(quick):
    _, _, path = quick
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_verdict_is_computed(quick):
    runs, _, _ = quick
    assert report.verdict(runs).startswith("Unclipped failed; all 6 clipped runs learned")
    survivor = dataclasses.replace(runs[4], accuracy=0.97, stopped_at=None)
    loser = dataclasses.replace(runs[1], accuracy=0.5)
    lost = dataclasses.replace(runs[2], accuracy=0.97, stopped_at=7)
    assert report.verdict([survivor, loser, lost]) == (
        "Not as expected: LSTM unclipped did not fail, RNN clipped by value did not learn, "
        "RNN clipped by norm did not learn."
    )


@pytest.mark.parametrize("clipping", train.CLIPPINGS[1:], ids=lambda clipping: clipping.name)
def test_a_step_counts_as_clipped_if_it_changed_a_gradient(clipping):
    gradients = {"a": np.array([3.0, -4.0], np.float32), "b": np.array([1e-3], np.float32)}
    for scale, expected in ((1, True), (0.9, False), (1.2, True)):  # the last: 1.08 times the limit
        for gradient in gradients.values():
            gradient *= np.float32(scale)
        before = {name: gradient.copy() for name, gradient in gradients.items()}
        seen = fastclip.measure(gradients)
        clipping.clip(gradients)
        changed = any((gradients[name] != before[name]).any() for name in before)
        assert changed is expected
        assert clipping.exceeded(seen) is expected


def test_the_update_uses_the_clipped_gradients():
    rng = np.random.default_rng(0)
    digits = data.load_digits(rng)
    runs = train.start("rnn", digits, rng)
    before = {name: weight.copy() for name, weight in runs[3].weights.items()}
    runs[3].step(digits.x[:64], digits.labels[:64], 1.0)
    moved = math.sqrt(sum(float(((runs[3].weights[name] - before[name]) ** 2).sum()) for name in before))
    assert runs[3].norms[0] > 2 * train.MAX_GLOBAL_NORM
    assert moved == pytest.approx(train.MAX_GLOBAL_NORM, rel=1e-4)


def test_held_out_digits_are_not_trained_on():
    digits = data.load_digits(np.random.default_rng(0))
    assert digits.x.shape == (1347, 8, 8)
    assert digits.held_out_x.shape == (450, 8, 8)
    assert digits.x.dtype == digits.held_out_x.dtype == np.float32
    trained = {image.tobytes() for image in digits.x}
    assert not any(image.tobytes() in trained for image in digits.held_out_x)
    counts = np.bincount(np.concatenate([digits.labels, digits.held_out_labels]))
    assert len(counts) == 10
    assert counts.sum() == 1797
