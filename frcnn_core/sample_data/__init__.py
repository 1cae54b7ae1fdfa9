"""Makes a small labelled data set of street scenes, and the specs to train on it.

For trying things out and for tests: it needs no download, and is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from frcnn_core.errors import FrcnnError
from frcnn_core.files import whole, write_whole


@dataclass(frozen=True)
class SampleData:
    """What ``generate`` wrote."""

    images: Path
    """Folder of PNG pictures; KITTI labels of the same names are in ``labels``."""
    labels: Path
    test_images: Path
    """Folder of pictures that the specs keep away from training and validation."""
    test_labels: Path
    dataset_spec: Path
    """For ``frcnn dataset_convert``."""
    train_spec: Path
    """For ``frcnn train``, ``evaluate`` and ``inference``."""


def generate(
    directory: Path,
    num_images: int = 400,
    *,
    num_test_images: int = 12,
    width: int = 320,
    height: int = 192,
    val_split: float = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SampleData:
    """Write pictures, labels and specs into a new or empty folder.

    Picture number i depends on the seed and i alone, so a larger set begins as a smaller one.

    Args:
        directory: made when missing.
        num_images: pictures for training and validation.
        num_test_images: further pictures, never trained on.
        width: of each picture in pixels, at least 160 as for every network input.
        height: of each picture in pixels, at least 160.
        val_split: percent of ``num_images`` that the dataset spec gives to validation.
        seed: 0 or greater.
        progress: called with the number of pictures written and wanted.

    Raises:
        FrcnnError: the folder has something in it, or a number makes no sense.
    """
    directory = Path(directory).absolute()
    _check(directory, num_images, num_test_images, width, height, val_split, seed)
    data = SampleData(
        images=directory / "image_2",
        labels=directory / "label_2",
        test_images=directory / "test" / "image_2",
        test_labels=directory / "test" / "label_2",
        dataset_spec=directory / "dataset_spec.txt",
        train_spec=directory / "train_spec.txt",
    )
    total = num_images + num_test_images
    for number in range(num_images):
        _write_scene(data.images, data.labels, number, (seed, 0, number), width, height)
        progress(number + 1, total)
    for number in range(num_test_images):
        _write_scene(data.test_images, data.test_labels, number, (seed, 1, number), width, height)
        progress(num_images + number + 1, total)
    # Double quotes and backslashes end or escape a string of a spec.
    quoted = str(directory).replace("\\", "\\\\").replace('"', '\\"')
    values = {"directory": quoted, "width": width, "height": height, "val_split": f"{val_split:g}"}
    for path in (data.dataset_spec, data.train_spec):
        template = files(__name__).joinpath("specs", path.name).read_text(encoding="utf-8")
        write_whole(path, Template(template).substitute(values))
    return data


def _check(
    directory: Path,
    num_images: int,
    num_test_images: int,
    width: int,
    height: int,
    val_split: float,
    seed: int,
) -> None:
    if directory.exists() and not directory.is_dir():
        raise FrcnnError(f"{directory} is a file; name a folder that is new or empty.")
    if directory.is_dir() and any(directory.iterdir()):
        raise FrcnnError(f"{directory} is not empty; name a folder that is new or empty.")
    if num_images < 1 or num_test_images < 0:
        raise FrcnnError("The number of images must be at least 1, that of test images at least 0.")
    if min(width, height) < 160:
        raise FrcnnError(f"Pictures of {width} x {height} are too small; take 160 x 160 or more.")
    if not 0 <= val_split < 100:
        raise FrcnnError(
            f"val_split is {val_split:g}, but must be a percentage from 0 to below 100."
        )
    if seed < 0:
        raise FrcnnError(f"The seed is {seed}, but must be 0 or greater.")


def _write_scene(
    images: Path, labels: Path, number: int, seed: Sequence[int], width: int, height: int
) -> None:
    import numpy as np

    from frcnn_core.data import kitti
    from frcnn_core.sample_data.scene import scene

    image, objects = scene(np.random.default_rng(seed), width, height)
    with whole(images / f"{number:06d}.png") as path:
        # Noise hardly compresses: more effort takes longer and saves nothing.
        image.save(path, format="PNG", compress_level=1)
    write_whole(labels / f"{number:06d}.txt", kitti.format_text(objects))
