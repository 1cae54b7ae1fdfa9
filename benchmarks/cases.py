"""What is measured: networks, image sizes, precisions, and pictures to run them on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from frcnn_core.spec.load import Spec, loads

WARM_UP = 2
"""Runs before those that count: the first one compiles."""


@dataclass(frozen=True)
class Case:
    """One network at one image size in one precision, training or detecting."""

    arch: str
    height: int
    width: int
    batch_size: int
    training: bool
    use_amp: bool = False
    """In training; ``frcnn`` always detects in float32."""
    rois: int = 256
    """``roi_mini_batch``."""

    @property
    def network(self) -> str:
        """E.g. ``resnet:18 384x1248 batch 1``."""
        return f"{self.arch} {self.height}x{self.width} batch {self.batch_size}"

    @property
    def title(self) -> str:
        """All of it, on one line."""
        return f"{self.network} {self.task}{' --use_amp' if self.use_amp else ''}"

    @property
    def task(self) -> str:
        """``training`` or ``inference``."""
        return "training" if self.training else "inference"

    def num_images(self, runs: int) -> int:
        """Pictures to draw: a pipeline must not run dry, nor be done long before the steps."""
        return 3 * self.batch_size * (WARM_UP + runs)

    def spec(self, pictures: Path) -> Spec:
        """The spec to run on pictures of ``draw``; what it leaves out is as in TLT's sample."""
        text = _SPEC.format(
            pictures=pictures,
            arch=self.arch,
            height=self.height,
            width=self.width,
            batch_size=self.batch_size,
            rois=self.rois,
            # As in the sample for basic blocks; as in public weights for bottlenecks.
            all_projections=self.arch != "resnet:50",
        )
        return loads(text, "benchmark")


_NETWORKS = [
    (arch, *size)
    for size, arch in product(((384, 1248, 1), (256, 320, 4)), ("resnet:18", "resnet:50"))
]
_TASKS = ({"training": True}, {"training": True, "use_amp": True}, {"training": False})

FULL = tuple(Case(*network, **task) for task in _TASKS for network in _NETWORKS)
"""Every case, in the order of the tables."""

QUICK = tuple(Case("resnet:10", 160, 160, 1, rois=8, **task) for task in _TASKS)
"""Enough to see that everything runs."""

INPUT_PIPELINE = "input pipeline"
"""Title of what is measured of data alone."""
SIMULATED = (160, 160)
"""Height and width of the pictures of simulated sets."""
NUM_SHARED = 100
"""How many pictures they share."""


@dataclass(frozen=True)
class DataCases:
    """What the input pipeline is measured on."""

    training: Case
    """Whose demand it has to meet."""
    num_pictures: int
    num_records: tuple[int, ...]
    """Sizes of simulated sets."""
    num_images: int
    """To run of each of them."""


FULL_DATA = DataCases(
    Case("resnet:18", 256, 320, 4, training=True), 400, (1000, 100_000), num_images=20_000
)
QUICK_DATA = DataCases(QUICK[0], 20, (100, 1000), num_images=200)


SCALING = "scaling"
"""Title of what is measured of several processes."""


@dataclass(frozen=True)
class Layout:
    """Processes that train together, and the threads and cores that each has."""

    processes: int
    threads: int

    @property
    def cores(self) -> int:
        """Of all of them."""
        return self.processes * self.threads

    def __str__(self) -> str:
        processes = "process" if self.processes == 1 else "processes"
        threads = "thread" if self.threads == 1 else "threads"
        return f"{self.processes} {processes} of {self.threads} {threads}"


@dataclass(frozen=True)
class ScalingCases:
    """What processes are compared on."""

    case: Case
    """What each of them trains; its batch is each process's own."""
    rounds: int
    """How often all layouts are started anew, so that a machine that slows down is noticed by all
    of them."""
    layouts: tuple[Layout, ...] = (Layout(1, 1), Layout(1, 2), Layout(2, 1))


FULL_SCALING = ScalingCases(Case("resnet:18", 256, 320, 1, training=True), rounds=2)
QUICK_SCALING = ScalingCases(QUICK[0], rounds=1)


def draw(folder: Path, height: int, width: int, num_images: int) -> None:
    """Draw street scenes into a new folder and convert them to records."""
    from frcnn_core.assemble import conversion_plan
    from frcnn_core.data import convert
    from frcnn_core.plugin import installed
    from frcnn_core.sample_data import generate
    from frcnn_core.spec.load import load_dataset_spec

    generate(folder, num_images, num_test_images=0, height=height, width=width)
    spec = load_dataset_spec(folder / "dataset_spec.txt")
    convert(conversion_plan(spec.message, installed(), folder / "tfrecords" / "street"))


# The learning rate is next to nothing and the images are scaled, so that fresh weights with fixed
# statistics keep proposals plausible and losses finite for as long as is measured.
_SPEC = """
dataset_config {{
  data_sources {{
    tfrecords_path: "{pictures}/tfrecords/street*"
    image_directory_path: "{pictures}"
  }}
  target_class_mapping {{ key: "car" value: "car" }}
  target_class_mapping {{ key: "cyclist" value: "cyclist" }}
  target_class_mapping {{ key: "person" value: "person" }}
}}
model_config {{
  arch: "{arch}"
  input_image_config {{
    size_height_width {{ height: {height} width: {width} }}
    image_scaling_factor: 58.0
  }}
  roi_mini_batch: {rois}
  freeze_bn: True
  freeze_blocks: 0
  freeze_blocks: 1
  all_projections: {all_projections}
}}
augmentation_config {{
  preprocessing {{ enable_auto_resize: True }}
}}
training_config {{
  enable_augmentation: True
  batch_size_per_gpu: {batch_size}
  output_model: "{pictures}/results/benchmark.tlt"
  optimizer {{ sgd {{ momentum: 0.9 }} }}
  learning_rate {{ soft_start {{ base_lr: 1e-9 }} }}
}}
evaluation_config {{ batch_size: {batch_size} }}
"""
