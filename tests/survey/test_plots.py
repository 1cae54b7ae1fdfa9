from xml.etree import ElementTree

import numpy as np
import pytest

from frcnn_core.survey import plots


def shapes(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(tag))


def test_bars_are_as_long_as_their_numbers():
    svg = plots.bars("cars", ["a", "b"], ["one", "two"], np.array([[30, 10], [20, 0]]))
    widths = [float(rect.get("width")) for rect in shapes(svg, "rect")]
    np.testing.assert_allclose(np.array(widths) / widths[1], [3, 1, 2], rtol=0.01)
    first, second, _ = shapes(svg, "rect")
    assert float(second.get("x")) == pytest.approx(float(first.get("x")) + widths[0], abs=0.1)
    assert [rect.find("title").text for rect in shapes(svg, "rect")] == [
        "a, one: 30",
        "a, two: 10",
        "b, one: 20",
    ]


def test_columns_are_as_high_as_their_numbers_and_stand_on_the_axis():
    counts = np.array([[10, 10], [5, 0], [0, 0]])
    svg = plots.histogram("h", [0, 1, 2, 3], [(0, "0")], ["one", "two"], counts, x_label="x")
    columns = shapes(svg, "rect")
    heights = [float(rect.get("height")) for rect in columns]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 1, 0.5], rtol=0.01)
    bottoms = [float(rect.get("y")) + float(rect.get("height")) for rect in columns]
    assert bottoms[0] == pytest.approx(bottoms[2], abs=0.1)
    assert bottoms[1] == pytest.approx(float(columns[0].get("y")), abs=0.1)


def test_a_point_is_right_of_and_above_a_smaller_one():
    points = np.array([[2.0, 32.0], [4.0, 16.0], [8.0, 8.0]])
    svg = plots.log_scatter("s", [points], ["all"], x_label="w", y_label="h")
    (path,) = [path for path in shapes(svg, "path") if "dots" in path.get("class")]
    moves = [move.removesuffix("h0").split() for move in path.get("d").split("M")[1:]]
    x, y = np.array(moves, float).T
    # Twice as wide is as far right each time, half as high as far down.
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.2)
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.2)
    assert np.diff(x)[0] > 0 and np.diff(y)[0] > 0  # SVG's y points down


def test_logarithmic_bins_hold_all_values():
    values = np.array([3.0, 17.0, 64.0])
    edges = plots.log_bins(values)
    assert edges[0] <= 3 and edges[-1] > 64
    assert np.histogram(values, edges)[0].sum() == 3
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2**0.25)
    assert plots.log_position(edges, edges[5]) == pytest.approx(5)


def test_names_are_escaped():
    svg = plots.bars("<&>", ["<b>&"], ['"x"'], np.array([[1]]))
    assert shapes(svg, "title")[0].text == "<&>"
    assert "<b>&" in [text.text for text in shapes(svg, "text")]
    assert plots.legend(["<a>", "b"]).count("&lt;a&gt;") == 1


@pytest.mark.slow
def test_one_series_alone_needs_no_legend():
    assert plots.legend(["training"]) == ""
