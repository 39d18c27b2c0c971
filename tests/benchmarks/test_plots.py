# SPDX-License-Identifier: BSD-3-Clause
"""Every plot is written, and none of its words are cut off or on top of each other."""

import itertools

import benchrecords
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.text import Text

from fastclip._bench.report import plots
from fastclip._bench.report.formats import LABELS
from fastclip._bench.report.plots import bars, errors, sizes, style, threads

MODULES = (bars, sizes, errors, threads)
EVERYTHING = tuple(benchrecords.PEERS)


def drawn(record):
    return {name: figure for module in MODULES for name, figure in module.figures(record)}


def words(figure):
    """The texts of a figure with the boxes that they fill."""
    with style.drawing():
        figure.set_dpi(style.DPI)
        figure.canvas.draw()
    return [(t, t.get_window_extent()) for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def within(limits, position):
    low, high = sorted(limits)
    return low <= position <= high


def ticks_outside(figure):
    """Labels of ticks beyond the axes' ends: matplotlib makes them and never draws them."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            every = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            inside = [tick for tick in every if within(axis.get_view_interval(), tick.get_loc()) and axes.axison]
            hidden |= {id(t.label1) for t in every if t not in inside} | {id(t.label2) for t in every}
    return hidden


@pytest.mark.parametrize(
    "peers",
    [
        EVERYTHING[:2],
        EVERYTHING[:3],
        EVERYTHING,
        (*EVERYTHING, "a peer of a long name"),
        ("fastclip", "fastclip.optax donated"),
    ],
)
def test_no_word_is_cut_off_or_on_top_of_another(peers):
    for name, figure in drawn(benchrecords.record(peers=peers)).items():
        hidden = ticks_outside(figure)
        boxes = [(text.get_text(), box) for text, box in words(figure) if id(text) not in hidden]
        assert len(boxes) > 3
        width, height = figure.bbox.size
        for text, box in boxes:
            assert box.x0 >= 0, f"{name}: {text!r} is cut off on the left"
            assert box.y0 >= 0, f"{name}: {text!r} is cut off below"
            assert box.x1 <= width, f"{name}: {text!r} is cut off on the right"
            assert box.y1 <= height, f"{name}: {text!r} is cut off above"
        for (one, first), (two, second) in itertools.combinations(boxes, 2):
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            along = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert across < 1 or along < 3, f"{name}: {one!r} and {two!r} overlap"  # a box has some room above letters


def test_a_file_for_each_plot(tmp_path):
    rows = [benchrecords.row(operation="clip"), benchrecords.row("a", sweep="size", bytes=1 << 20)]
    rows.append(benchrecords.row("a", sweep="size", bytes=1 << 24))
    rows.append(benchrecords.row(sweep="threads"))
    written = plots.write(benchrecords.record(rows), tmp_path / "new")
    names = ["bars-clip.png", "size-within.png", "error-size-uniform-f32.png", "error-hard.png", "threads.png"]
    assert [path.name for path in written] == names
    for path in written:
        height, width, _ = imread(path).shape
        assert width == style.WIDTH * style.DPI
        assert height > 200


def test_nothing_is_drawn_of_nothing():
    assert drawn(benchrecords.record([], accuracy=[])) == {}


def test_bars_have_the_limit_as_a_line_and_say_who_is_wrong():
    row = benchrecords.row()
    (axes,) = [axes for axes in drawn(benchrecords.record([row]))["bars-within"].axes if axes.axison]
    limit = sorted(row["seconds"]["limit"])
    assert limit[0] <= axes.lines[0].get_xdata()[0] <= limit[-1]
    assert len(axes.patches) >= len(benchrecords.PEERS)
    (wrong,) = [text.get_text() for text in axes.texts if "wrong" in text.get_text()]
    assert wrong.startswith("16.25 ms")
    without = benchrecords.record([benchrecords.row(limit=False)])
    assert not drawn(without)["bars-within"].axes[0].lines


def test_sizes_mark_the_data_caches_in_range():
    axes = drawn(benchrecords.record())["size-within"].axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["L1d 32 KB", "L2 512 KB", "L3 32 MB"]
    assert {"1 KB", "1 MB", "1 GB"} <= {label.get_text() for label in axes.get_xticklabels()}


def test_errors_that_are_none_or_no_number_have_a_place():
    figures = drawn(benchrecords.record())
    ours = figures["error-size-uniform-f32"].axes[0].lines[0].get_ydata()
    assert min(ours) == errors.NONE
    assert "inf or\nNaN" in [label.get_text() for label in figures["error-hard"].axes[0].get_xticklabels()]
    places = [x for line in figures["error-hard"].axes[0].lines for x in line.get_xdata()]
    assert places.count(errors.INFINITE) == 2 * 5  # a mark and a ring for each


def test_peers_differ_by_colour_and_without_it():
    looks = style.styles([*(name for name in LABELS if name not in ("limit", "streams")), "one", "another"])
    assert len({(look.colour, look.dashes) for look in looks.values()}) == len(looks)
    assert len({look.marker for look in looks.values()}) == len(looks)
    assert len({look.hatch for look in looks.values()}) == len(looks)
    assert all(min(to_rgb(look.colour)) < 0.5 for look in looks.values())  # none is lost on white
    assert [name for name, look in looks.items() if look.bold] == ["fastclip"]


def test_a_peer_keeps_its_style_when_others_are_missing():
    assert style.styles(["fastclip", "jax"])["jax"] == style.styles(EVERYTHING)["jax"]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_another_dtype_has_a_plot_of_its_own(dtype):
    rows = [benchrecords.row("a", sweep="size", bytes=1 << n, dtype=dtype) for n in (10, 20)]
    accuracy = [{**benchrecords.accuracy("x", "size", 100, {"fastclip": 0.0}), "dtype": dtype}]
    made = benchrecords.record([*rows, *(dict(row, dtype="f32") for row in rows)], accuracy=accuracy)
    assert {"size-within", f"size-within-{dtype}", f"error-size-x-{dtype}"} == set(drawn(made))
