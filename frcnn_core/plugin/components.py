"""The six kinds of component a plugin can provide.

Shape letters are those of ``frcnn_core.structures``.

These classes describe a component and build it on demand.  Methods that need
TensorFlow import it in their body, so that listing plugins stays instant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from frcnn_core.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import keras

    from frcnn_core.data import LabelledImage, LabelSet, Preprocessing
    from frcnn_core.detector import Blocks, DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin.import_plan import ImportPlan
    from frcnn_core.plugin.int8 import CalibrationImages
    from frcnn_core.structures import Detections, GroundTruth, ImageDetections


class Component(ABC):
    """A named, self-describing thing a spec can ask for."""

    name: ClassVar[str]
    """The word a spec uses, e.g. ``resnet`` in ``arch: "resnet:18"``."""

    summary: ClassVar[str] = ""
    """One line for ``frcnn plugins``."""

    requires: ClassVar[tuple[str, ...]] = ()
    """Importable modules the component needs beyond the core's own."""


@dataclass(frozen=True)
class NoOptions:
    """For a component that takes none."""


class Backbone(Component):
    """A convolutional network cut in two: before and after RoI pooling."""

    variants: ClassVar[tuple[str, ...]] = ()
    """Allowed suffixes: ``("18", "50")`` allows ``resnet:18``; empty allows only ``resnet``."""

    freeze_ids: ClassVar[range] = range(0)
    """Block ids that ``model_config.freeze_blocks`` may name."""

    honours: ClassVar[frozenset[str]] = frozenset()
    """Optional ``model_config`` fields this family obeys, e.g. ``use_pooling``.

    A spec that sets any other optional field gets a warning that it has no effect.
    """

    unprunable: ClassVar[tuple[str, ...]] = ()
    """Names of layers whose channels pruning must keep."""

    Options: ClassVar[type] = NoOptions
    """Options of this family beyond the common ones, from ``model_config.backbone_options``."""

    @abstractmethod
    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        """Images (B, H, W, 1 or 3) to a stride-16 map (B, ceil(H/16), ceil(W/16), C)."""

    @abstractmethod
    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        """Pooled RoIs (B*R, S, S, C) to one vector per RoI (B*R, D)."""

    def custom_layers(self) -> dict[str, type[keras.layers.Layer]]:
        """Layer classes of the plugin's own that saved models name, by their Keras name."""
        return {}

    def pretrained_name(self, layer: str) -> str:
        """What a pretrained weights file calls ``layer``."""
        return layer

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        """How ``library``'s weights of this network become ours, for ``frcnn weights import``.

        Args:
            variant: one of ``variants``, or "".
            library: one of ``frcnn_core.plugin.import_plan.LIBRARIES``.

        Raises:
            ModelFileError: its weights cannot be used; the message says why.
        """
        raise ModelFileError(f"{self.name} has no counterpart there.")


class LRSchedule(Component):
    """Learning rate as a pure function of training progress."""

    Options: ClassVar[type]
    """A frozen dataclass; its fields are the options a spec may set."""

    @abstractmethod
    def learning_rate(self, options: Any, progress: float) -> float:
        """Rate at ``progress`` in [0, 1), before the trainer scales it by the number of GPUs."""


class Optimizer(Component):
    """Builds a Keras optimizer from options."""

    Options: ClassVar[type]
    """A frozen dataclass; its fields are the options a spec may set."""

    @abstractmethod
    def build(self, options: Any) -> keras.optimizers.Optimizer:
        """A fresh optimizer; the trainer sets its learning rate before every step."""


@dataclass(frozen=True)
class MetricResult:
    """What a metric found over a whole data set."""

    primary: float
    """The one number to select checkpoints by, larger is better, e.g. mAP in [0, 1]."""

    values: dict[str, Any]
    """Everything, ready for JSON."""

    text: str
    """A table for the terminal."""

    by_class: Mapping[str, float | None] = field(default_factory=dict)
    """What ``primary`` is for each class, None where there is nothing to find; empty for a metric
    that does not look at classes."""


class Accumulator(ABC):
    """A metric in progress: image after image, then one result."""

    @abstractmethod
    def update(self, truth: GroundTruth, detections: ImageDetections) -> None:
        """Take one image into account; boxes of both are in pixels of the original image."""

    @abstractmethod
    def result(self) -> MetricResult:
        """The result over all images so far."""


class Metric(Component):
    """Scores detections against ground truth, image by image."""

    @abstractmethod
    def start(
        self,
        class_names: Sequence[str],
        *,
        iou_thresholds: Sequence[float],
        score_threshold: float,
    ) -> Accumulator:
        """A fresh accumulator.

        Args:
            class_names: K names; class id i is the i-th.
            iou_thresholds: from ``evaluation_config``; a metric with a protocol of its own,
                such as COCO's, ignores them.
            score_threshold: where precision and recall are read off.
        """


@dataclass(frozen=True)
class Runtime:
    """A detector ready to run, whatever kind of file it came from."""

    detect: Callable[[Any, Any], Detections]
    """(images (B, H, W, C) preprocessed, sizes (B, 2)) to detections, as ``FasterRCNN.detect``."""
    class_names: tuple[str, ...]
    """K names; class id i is the i-th."""
    preprocessing: Preprocessing
    """How images become the input of ``detect``."""
    settings: DetectionSettings | None = None
    """How it makes detections, fixed in an exported file; None where that is not known."""
    precision: str = ""
    """``fp32``, ``fp16`` or ``int8``, as ``--data_type``; empty where that is not known."""
    knows_sizes: bool = True
    """Whether it looks at the sizes.  If not, boxes may reach into an image's padding before they
    are cut, which can change what is suppressed."""
    rounds_pixels: bool = False
    """Whether ``detect`` rounds pixels of resampled images to whole numbers, for a file that takes
    8 bits."""


@dataclass(frozen=True)
class LayerCost:
    """What an exported detector's outputs lose by int8 in one layer."""

    layer: str
    """``part/layer``, as ``--keep_float`` takes it."""
    error: float
    """Root mean square of what the RPN's and the head's outputs change when this layer alone is
    int8, divided by that of the outputs themselves; 0 is no loss."""


class Exporter(Component):
    """Writes a trained detector in a deployment format."""

    suffix: ClassVar[str] = ""
    """File name ending that selects this exporter, e.g. ``.onnx``."""

    runs_elsewhere: ClassVar[str] = ""
    """For a format that frcnn cannot run: why, and what does; a sentence without a full stop."""

    Options: ClassVar[type] = NoOptions
    """A frozen dataclass; ``frcnn export NAME`` gets one flag per field."""

    @abstractmethod
    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: Any,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        """Write ``model`` and return the files or folders written, the main one first.

        Args:
            model: detector, classes and preprocessing.
            output: file or folder to write; does not exist yet.
            settings: how detections are made (``inference_config``); fixed in what is written.
            options: an instance of ``Options``.
            images: what ranges of int8 are measured on; given where the options are
                ``Int8Options`` and ``calibrates`` says so.

        Raises:
            FrcnnError: the format cannot hold such a model.
        """

    def writes(self, output: Path, options: Any) -> Sequence[Path]:
        """Every file and folder that ``export`` may write with these options, the main one first.

        ``frcnn export`` refuses before any work where one of them exists.  With ``--force`` it
        moves them aside first, and back if ``export`` raises.  So ``export`` itself never replaces
        anything: what it finds there is somebody else's, and a ``FrcnnError``.
        """
        return (output,)

    def recognises(self, path: Path) -> bool:
        """Whether ``path`` is, by its name or first bytes, something ``export`` wrote."""
        return bool(self.suffix) and path.suffix == self.suffix

    def load(self, path: Path, *, key: str = "") -> Runtime:
        """Run what ``export`` wrote.

        Args:
            path: file or folder.
            key: for a format that is encrypted.

        Raises:
            ModelFileError: it cannot be run, or not here.
        """
        why = f" {self.runs_elsewhere}." if self.runs_elsewhere else ""
        raise ModelFileError(f"{path}: {self.name} files cannot be run by frcnn.{why}")

    def layer_costs(self, path: Path, images: CalibrationImages) -> Sequence[LayerCost]:
        """What int8 costs in each layer of what ``export`` wrote, the costliest first.

        Nothing for what has no int8 in it, and for formats whose layers cannot be told apart.
        """
        return ()


class LabelFormat(Component):
    """Reads and writes the labels of a folder of images."""

    Options: ClassVar[type] = NoOptions
    """A frozen dataclass; its fields are the options a spec may set."""

    @abstractmethod
    def open(self, labels: Path, options: Any) -> LabelSet:
        """The labels of a data set.

        Args:
            labels: folder of label files, searched at any depth, or one file for all images.
            options: an instance of ``Options``.

        Raises:
            DataError: there is nothing of this format.
        """

    @abstractmethod
    def write(self, images: Iterable[LabelledImage], output: Path, options: Any) -> list[Path]:
        """Write labels so that ``open`` reads the same objects, and return the files written.

        Boxes and class names are kept as they are.  What the format has no field for, such as
        measures in metres, is left out; but a crowd must not become an object.

        Args:
            images: may be gone through only once.
            output: folder or file to write; does not exist yet.
            options: an instance of ``Options``.

        Raises:
            DataError: the format cannot hold such labels.
            FrcnnError: ``output`` exists.
        """

    def recognises(self, labels: Path) -> bool:
        """Whether ``labels``, a folder or a file that exists, looks like this format.

        Quick: a few files at most are looked into.
        """
        return False
