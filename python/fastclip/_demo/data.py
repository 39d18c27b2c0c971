# SPDX-License-Identifier: BSD-3-Clause
"""Scikit-learn's handwritten digits as sequences: 8 steps, one for each row of 8 pixels."""

from typing import NamedTuple

import numpy as np
from sklearn import datasets

from fastclip._demo.networks import Array, Labels

HELD_OUT = 450  # of 1,797 images: a quarter


class Digits(NamedTuple):
    """Hold the images to learn from and those held out, shape (images, 8, 8), f32 from 0 to 1."""

    x: Array
    labels: Labels
    held_out_x: Array
    held_out_labels: Labels


def load_digits(rng: np.random.Generator) -> Digits:
    """Load the digits, which come with scikit-learn, and hold a random quarter of them out."""
    bunch = datasets.load_digits()
    order = rng.permutation(len(bunch.target))
    x = (bunch.images[order] / 16).astype(np.float32)
    labels = bunch.target[order]
    return Digits(x[HELD_OUT:], labels[HELD_OUT:], x[:HELD_OUT], labels[:HELD_OUT])
