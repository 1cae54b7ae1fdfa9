"""A small clean data set that tests break, one flaw at a time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from frcnn_core.assemble import survey
from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.load import loads
from frcnn_core.survey.report import Report
from frcnn_core.survey.validation import validate

HEIGHT, WIDTH = 40, 60


def pixels(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed, height, width)).save(file, "PNG")
    return file.getvalue()


def jpeg(seed: int, *, orientation: int = 1, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A JPEG file; height and width are as stored."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels(seed, height, width)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def line(x1, y1, x2, y2, name: str = "car", occlusion: int = 0) -> str:
    return f"{name} 0 {occlusion} 0 {x1} {y1} {x2} {y2} 0 0 0 0 0 0 0\n"


def cars(count: int = 10) -> str:
    """KITTI labels of that many cars of 20 x 20 pixels, no two in the same place."""
    return "".join(line(i, i, i + 20, i + 20) for i in range(count))


class BrokenSet:
    """Images ``train_0``, ``train_1`` and ``val_0`` with ten cars each, in KITTI format.

    Nothing is wrong with them, for a network of 40 x 60 pixels that does not resize, of the class
    ``car``, at most 12 objects an image.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for number, name in enumerate(("train_0", "train_1", "val_0")):
            self.write(f"images/{name}.png", png(number))
            self.write(f"labels/{name}.txt", cars())

    def write(self, name: str, content: bytes | str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    @property
    def spec(self) -> str:
        """An experiment spec that reads the labels directly."""

        def source(split: str, also: str = "") -> str:
            found = {path.stem for path in (self.folder / "images").iterdir()}
            names = {name for name in found if name.startswith(split)}
            self.write(f"{split}.list", "".join(f"{name}\n" for name in sorted(names)) + also)
            return f"""{{ image_directory_path: "{self.folder}/images"
              labels {{ path: "{self.folder}/labels" format: "kitti" }}
              image_list: "{self.folder}/{split}.list" }}"""

        return f"""
        dataset_config {{
          data_sources {source("train", self.also_listed)}
          validation_data_source {source("val")}
          target_class_mapping {{ key: "car" value: "car" }}
          {self.more_classes}
        }}
        model_config {{
          arch: "resnet:18"
          input_image_config {{
            size_height_width {{ height: {HEIGHT} width: {WIDTH} }}
            max_objects_num_per_image: 12
          }}
          anchor_box_config {{ scale: [16.0, 32.0] ratio: [1.0] }}
        }}
        augmentation_config {{ preprocessing {{ {self.preprocessing} }} }}
        training_config {{ num_epochs: 1 }}
        """

    also_listed = ""
    """More lines of the list of training images."""
    more_classes = ""
    """More of ``dataset_config``."""
    preprocessing = ""
    """What is in ``augmentation_config.preprocessing``."""

    def validate(self, **options) -> Report:
        data = survey.of_experiment(loads(self.spec), installed())
        return validate(data.splits, data.view, **options)


def told(report: Report) -> list[tuple[str, str]]:
    """Code and file name, or class, of all findings; a line number stays."""
    return sorted(
        (code, Path(finding.place).name)
        for code, findings in report.findings.items()
        for finding in findings
    )
