# SPDX-License-Identifier: BSD-3-Clause
"""Programs that were not changed train as with stock torch: to the bit given its norm, and closely by the right one."""

import math

import pytest

import fastclip

U = 2.0**-24  # f32's unit roundoff
# Torch adds squares in f32. Of the arrays here the largest has 36,864 elements, 4,608 for each of 8 lanes: sqrt(4608)
# = 68 roundings of up to u in the sum of squares, half of that in the norm. Measured: 2 u, 2 u and 8 u.
NORM = 32 * U


def allowed(short, run, watch):
    """How far fastclip's exact norm may take the losses and, relative, the parameters from stock torch's.

    Torch's norm and with it each clipped gradient is off by NORM, and so is the step made of it. A step is a small part
    of the parameters; the errors are of one kind and add up: steps * NORM * stride / weights. Besides, as the sum of a
    weight and its step is rounded, each may fall on the other side, an error of up to u that is anybody's guess, and
    adds up to sqrt(steps) * u. Later gradients hand errors on, in such short runs without blowing them up: a factor of
    2 is left for that.

    The loss moves by at most its gradient's norm times the way of the parameters, and is rounded itself.
    """
    weights = math.sqrt(sum(float(p.double().square().sum()) for p in run.parameters))
    parameters = 2 * (short.steps * NORM * short.stride / weights + math.sqrt(short.steps) * U)
    return max(watch.norms) * weights * parameters + 8 * U * max(map(abs, run.losses)), parameters


def test_the_client_calls_what_stands_in_torchs_place(client):
    (_, stock), (_, ours) = client.trained("torch_as_it_is"), client.trained("patched")
    assert stock.function.__module__ == "torch.nn.utils.clip_grad"
    assert ours.function is fastclip.torch.clip_grad_norm_
    assert len(stock.norms) == len(ours.norms) == client.short.steps


@pytest.mark.parametrize("way", ["torch_as_it_is", "patched", "injected"])
def test_there_is_something_to_clip_and_to_learn(client, way):
    run, watch = client.trained(way)
    assert watch.clipped >= 5
    assert len(set(run.losses)) == len(run.losses) > 1


def test_by_torchs_norm_every_bit_is_torchs(client):
    (stock, theirs), (ours, watch) = client.trained("torch_as_it_is"), client.trained("injected")
    assert watch.norms == theirs.norms
    assert ours.losses == stock.losses
    assert ours.same(stock)


def test_a_slightly_wrong_norm_changes_bits(client):
    """Else the test above would say nothing."""
    stock, theirs = client.trained("torch_as_it_is")
    wrong, watch = client.trained("injected", factor=1 + 2.0**-20)
    assert watch.norms != theirs.norms
    assert wrong.losses != stock.losses
    assert not wrong.same(stock)


def test_by_its_own_norm_it_stays_near(client):
    (stock, theirs), (ours, watch) = client.trained("torch_as_it_is"), client.trained("patched")
    assert abs(watch.norms[0] / theirs.norms[0] - 1) <= NORM  # of the same gradients, as no other
    losses, parameters = allowed(client.short, stock, theirs)
    off = stock.departure(ours)
    assert off[0] <= losses
    assert off[1] <= parameters


def test_by_a_badly_wrong_norm_it_does_not(client):
    """By so much because Adam hardly cares by what all gradients are multiplied."""
    stock, theirs = client.trained("torch_as_it_is")
    wrong, watch = client.trained("injected", factor=1.1)
    assert abs(watch.norms[0] / theirs.norms[0] - 1) > NORM
    assert stock.departure(wrong)[1] > allowed(client.short, stock, theirs)[1]
