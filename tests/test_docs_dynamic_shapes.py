"""What docs/conventions.md says of dynamic shapes, computed again."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from frcnn_core import assemble
from frcnn_core.data.preprocessing import dynamic_size
from frcnn_core.detector.stride import canvas
from frcnn_core.spec.load import load

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "conventions.md").read_text()
SIZES = ((600, 800), (800, 600))


def table() -> list[tuple[int, float]]:
    lines = PAGE.split("<!-- table: padding -->\n")[1].split("\n\n")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines[2:]]
    return [(int(images), float(pixels)) for images, pixels in rows]


@pytest.mark.parametrize(("images", "pixels"), table())
def test_the_table_on_padding(images, pixels):
    """Every batch there can be, once."""
    padded, own = 0, 0
    for sizes in product(SIZES, repeat=images):
        canvases = canvas(np.array(sizes)).numpy()
        padded += images * canvases.max(axis=0).prod()
        own += canvases.prod(axis=1).sum()
    assert pixels == pytest.approx(padded / own, abs=5e-4)


@pytest.mark.parametrize(
    ("said", "size", "limits"),
    [
        ("375 x 1242 becomes 301 x 1000", (375, 1242), (600, 1000)),
        ("500 x 375 becomes 800 x 600", (500, 375), (600, 1000)),
    ],
)
def test_the_sizes_of_the_page_are_those_of_the_code(said, size, limits):
    assert said in PAGE
    height, width = dynamic_size(*size, *limits)
    assert said.endswith(f"{int(height)} x {int(width)}")


def test_the_example_is_what_its_comment_says():
    found = assemble.preprocessing(load(ROOT / "examples" / "specs" / "dynamic_shape.txt"))
    assert (found.is_dynamic, found.min_side, found.max_side) == (True, 600, 1000)
