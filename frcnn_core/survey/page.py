"""Statistics of a data set as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from frcnn_core.data import image_files
from frcnn_core.detector import Anchors
from frcnn_core.errors import DataError
from frcnn_core.survey import plots, statistics
from frcnn_core.survey.objects import ObjectTable, SampleImage
from frcnn_core.survey.view import NetworkView

_MOST_CLASSES = 30
"""Classes with a bar of their own."""
_MOST_POINTS = 3000
_MOST_BINS = 40
_THUMBNAIL = 360
"""Longest side of a sample image in pixels."""
_MOST_BOXES = 300
"""Boxes that are drawn of a sample image."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff;
  --panel: #f6f8fa; --line: #d1d9e0; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #bf8700; --c5: #bf3989; --rest: #818b98; --l0: #59636e; --l1: #afb8c1; --l2: #394048;
  --l3: #d1d9e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117;
  --panel: #151b23; --line: #3d444d; --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8;
  --c4: #d29922; --c5: #db61a2; --l0: #9198a1; --l1: #545d68; --l2: #c9d1d9; --l3: #323942; } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 .75rem; } .soft { color: var(--soft); }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
figure { margin: 0; padding: .75rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: .25rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
.grid { stroke: var(--line); stroke-width: 1; fill: none; }
.mark { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 3; fill: none; }
path.mark { stroke-dasharray: none; }
.dots { fill: none; stroke-width: 3; stroke-linecap: round; stroke-opacity: .5; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .75rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.legend { font-size: .875rem; } .key { display: inline-block; margin-right: 1rem; }
.key i { display: inline-block; width: .75em; height: .75em; margin-right: .35em; }
.samples { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.samples figcaption { font-weight: 400; font-size: .8rem; }
.box { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
"""


class _Part(NamedTuple):
    caption: str
    content: str


def page(
    table: ObjectTable,
    title: str,
    view: NetworkView | None = None,
    anchors: Anchors | None = None,
) -> str:
    """The page, in English, for screens of any width, light or dark.

    Args:
        table: with the samples to show.
        title: what the data set is called, e.g. the name of its spec.
        view: in which the table was gathered.
        anchors: of the spec, to be marked among the boxes.
    """
    pixels = "pixels of the image" if view is None else "network pixels"
    figures = [
        _classes(table),
        _box_sides(table, pixels, anchors),
        _box_shapes(table, pixels, anchors),
        _ratios(table, anchors),
        _objects_per_image(table),
        _image_sizes(table),
    ]
    samples = [shown for one in table.samples if (shown := _sample(one, table, view))]
    num_images = sum(count.num_images for count in table.counts.values())
    seen = "" if view is None else escape(f" Images come {view.preprocessing.describe()}.")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}: data statistics</title><style>{_STYLE}{_colours()}</style></head>"
        f"<body><h1>{escape(title)}</h1>"
        f"<p>{num_images:,} images with {len(table.classes):,} objects of"
        f" {len(table.class_names):,} classes. Boxes are measured in {pixels}.{seen}</p>"
        f"{_counts_table(table)}{_left_out(table)}"
        f"<h2>Objects and images</h2>{plots.legend(list(table.counts), plots.layer_class)}"
        f'<div class="plots">{"".join(map(_figure, figures))}</div>'
        f"<h2>Box sizes</h2>{_sizes_table(table, pixels)}"
        f"<h2>Sample images</h2>{plots.legend(_shown_classes(table))}"
        f'<div class="samples">{"".join(map(_figure, samples))}</div></body></html>\n'
    )


def _colours() -> str:
    names = [(plots.series_class(index), f"c{index}") for index in range(plots.NUM_SERIES)]
    names.append((plots.series_class(plots.NUM_SERIES), "rest"))
    layers = "".join(
        f"rect.layer-{index}{{fill:var(--l{index})}}i.layer-{index}{{background:var(--l{index})}}"
        for index in range(plots.NUM_LAYERS)
    )
    return layers + "".join(
        f"i.{name}{{background:var(--{colour})}}"
        f".dots.{name},.box.{name}{{fill:none;stroke:var(--{colour})}}"
        for name, colour in names
    )


def _figure(part: _Part) -> str:
    return f"<figure><figcaption>{part.caption}</figcaption>{part.content}</figure>"


def _counts_table(table: ObjectTable) -> str:
    splits = list(table.counts)
    objects = np.stack([table.objects(index) for index in range(len(splits))], axis=1)
    rows = [
        [name, *(f"{n:,}" for n in counts), f"{counts.sum():,}"]
        for name, counts in zip(table.class_names, objects, strict=True)
    ]
    rows.append(["all objects", *(f"{n:,}" for n in objects.sum(axis=0)), f"{objects.sum():,}"])
    for name, numbers in {
        "images": [count.num_images for count in table.counts.values()],
        "images without objects": [c.objects_per_image[0] for c in table.counts.values()],
        "difficult objects": [count.num_difficult for count in table.counts.values()],
    }.items():
        rows.append([name, *(f"{n:,}" for n in numbers), f"{sum(numbers):,}"])
    return _table(["class", *splits, "all"], rows)


def _sizes_table(table: ObjectTable, pixels: str) -> str:
    head = ["class", *(f"{percent} %" for percent in statistics.QUANTILES)]
    head[1], head[-1], head[len(head) // 2] = "smallest", "largest", "median"
    parts = []
    for measure, words in (
        ("side", f"Root of the area in {pixels}"),
        ("width", f"Width in {pixels}"),
        ("height", f"Height in {pixels}"),
        ("ratio", "Width / height"),
    ):
        rows = [
            [name, *(f"{value:.3g}" for value in measures[measure])]
            for name, measures in statistics.sizes_by_class(table).items()
        ]
        parts.append(f'<p class="soft">{escape(words)}</p>{_table(head, rows)}')
    return "".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return (
        f'<div class="table"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _left_out(table: ObjectTable) -> str:
    """What is not in the numbers, if anything."""
    sentences = []
    for name, count in table.counts.items():
        parts = [
            (count.num_unreadable, "images that cannot be read"),
            (count.num_without_area, "boxes without an area in the image"),
            (count.num_crowds, "crowds"),
            (count.left_out.total(), f"objects of other classes ({', '.join(count.left_out)})"),
        ]
        if said := [f"{number:,} {what}" for number, what in parts if number]:
            sentences.append(f"{name}: {', '.join(said)}")
    if not sentences:
        return ""
    return (
        f'<p class="soft">Not counted: {escape("; ".join(sentences))}. '
        "<code>frcnn dataset validate</code> says which.</p>"
    )


def _classes(table: ObjectTable) -> _Part:
    objects = np.stack([table.objects(index) for index in range(len(table.counts))], axis=1)
    order = np.argsort(-objects.sum(axis=1), kind="stable")[:_MOST_CLASSES]
    title = "Objects per class"
    if len(table.class_names) > _MOST_CLASSES:
        title += f", the {_MOST_CLASSES} most frequent of {len(table.class_names)}"
    names = [table.class_names[index] for index in order]
    return _Part(title, plots.bars(title, names, list(table.counts), objects[order]))


def _by_split(table: ObjectTable, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bins, splits) how many values of each split are in each bin."""
    return np.stack(
        [np.histogram(values[table.splits == i], edges)[0] for i in range(len(table.counts))],
        axis=1,
    )


def _box_sides(table: ObjectTable, pixels: str, anchors: Anchors | None) -> _Part:
    values = np.sqrt(table.sides.astype(float).prod(axis=1))
    scales = anchors.scales if anchors else ()
    title = "Box size: root of the area"
    return _beside_anchors(table, values, scales, title, "anchor scale", x_label=pixels)


def _ratios(table: ObjectTable, anchors: Anchors | None) -> _Part:
    sides = table.sides.astype(float)
    values = sides[:, 1] / sides[:, 0]
    ratios = anchors.ratios if anchors else ()
    title = "Aspect ratio: width / height"
    return _beside_anchors(table, values, ratios, title, "anchor ratio", x_label="width / height")


def _beside_anchors(
    table: ObjectTable,
    values: np.ndarray,
    marks: Sequence[float],
    title: str,
    word: str,
    *,
    x_label: str,
) -> _Part:
    """A histogram of one value (N,) of each box, with lines at those of the anchors."""
    if marks:
        title = f"{title}, lines: {word}s"
    edges = plots.log_bins(np.concatenate([values, marks]))
    plot = plots.histogram(
        title,
        edges,
        plots.log_ticks(edges),
        list(table.counts),
        _by_split(table, values, edges),
        x_label=x_label,
        marks=[(plots.log_position(edges, mark), f"{word} {mark:g}") for mark in marks],
    )
    return _Part(title, plot)


def _box_shapes(table: ObjectTable, pixels: str, anchors: Anchors | None) -> _Part:
    chosen = np.arange(len(table.boxes))
    title = "Width and height" + (", crosses: anchors" if anchors else "")
    if len(chosen) > _MOST_POINTS:
        chosen = np.linspace(0, len(chosen) - 1, _MOST_POINTS).round().astype(int)
        title += f", {_MOST_POINTS:,} of {len(table.boxes):,} boxes"
    shapes = table.sides[chosen, ::-1].astype(float)
    ranks = _class_ranks(table)[table.classes[chosen]]
    series = _shown_classes(table)
    points = [shapes[ranks == rank] for rank in range(len(series))]
    outlines = [(w, h, f"anchor {w:.3g} x {h:.3g}") for h, w in anchors.sizes] if anchors else []
    plot = plots.log_scatter(
        title, points, series, x_label=f"width in {pixels}", y_label="height", outlines=outlines
    )
    return _Part(title, plots.legend(series) + plot)


def _class_ranks(table: ObjectTable) -> np.ndarray:
    """(K,) the series each class is drawn as: the most frequent first, the rest as one."""
    totals = np.bincount(table.classes, minlength=len(table.class_names))
    ranks = np.argsort(np.argsort(-totals, kind="stable"), kind="stable")
    return np.minimum(ranks, plots.NUM_SERIES)


def _shown_classes(table: ObjectTable) -> list[str]:
    """What the series of classes are called."""
    order = np.argsort(_class_ranks(table), kind="stable")[: plots.NUM_SERIES]
    names = [table.class_names[index] for index in order]
    return names + ["others"] * (len(table.class_names) > plots.NUM_SERIES)


def _objects_per_image(table: ObjectTable) -> _Part:
    most = max((max(c.objects_per_image, default=0) for c in table.counts.values()), default=0)
    width = -(-(most + 1) // _MOST_BINS)
    edges = np.arange(0, most + 1 + width, width)
    counts = np.zeros((len(edges) - 1, len(table.counts)), int)
    for column, count in enumerate(table.counts.values()):
        for number, images in count.objects_per_image.items():
            counts[number // width, column] += images
    every = max(1, len(counts) // 6)
    # A bin of one number is labelled in its middle, a wider one where it begins.
    middle = 0.5 if width == 1 else 0.0
    ticks = [(at + middle, f"{edges[at]}") for at in range(0, len(counts), every)]
    title = "Objects per image"
    plot = plots.histogram(
        title, edges, ticks, list(table.counts), counts, x_label="objects", unit="images"
    )
    return _Part(title, plot)


def _image_sizes(table: ObjectTable) -> _Part:
    total: Counter[tuple[int, int]] = Counter()
    for count in table.counts.values():
        total.update(count.image_sizes)
    shown = total.most_common(10)
    values = np.array(
        [[count.image_sizes[size] for count in table.counts.values()] for size, _ in shown]
    ).reshape(len(shown), len(table.counts))
    title = "Image sizes, width x height"
    if len(total) > len(shown):
        title += f", the {len(shown)} most frequent of {len(total)}"
    names = [f"{width} x {height}" for (height, width), _ in shown]
    return _Part(title, plots.bars(title, names, list(table.counts), values))


def _sample(sample: SampleImage, table: ObjectTable, view: NetworkView | None) -> _Part | None:
    """A small picture with its boxes; None if it cannot be decoded."""
    try:
        pixels = image_files.decode(sample.file.image)
    except DataError:
        return None
    height, width = pixels.shape[:2]
    ranks = _class_ranks(table)
    shapes = []
    for item in sample.labels.objects[:_MOST_BOXES]:
        name = item.class_name if view is None else view.class_of(item.class_name)
        if name not in table.class_names or not item.has_area:
            continue
        series = plots.series_class(int(ranks[table.class_names.index(name)]))
        shapes.append(
            f'<rect class="box {series}" x="{item.x1:g}" y="{item.y1:g}" '
            f'width="{item.x2 - item.x1:g}" height="{item.y2 - item.y1:g}">'
            f"<title>{escape(name)}</title></rect>"
        )
    said = f"{sample.file.image.name}, {sample.split}: {len(shapes)} objects"
    content = (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
        f'<title>{escape(said)}</title><image width="{width}" height="{height}" '
        f'href="{_data_uri(pixels)}"/>{"".join(shapes)}</svg>'
    )
    return _Part(escape(said), content)


def _data_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
