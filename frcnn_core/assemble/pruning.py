"""A model file to prune, and what comes of it in numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frcnn_core.assemble.evaluation import rois_per_image
from frcnn_core.assemble.models import open_model
from frcnn_core.detector import flops
from frcnn_core.model_files import Model
from frcnn_core.plugin import Plugins
from frcnn_core.pruning import ChannelGroup, Criterion, Plan, check_layer_names, prune
from frcnn_core.pruning.scores import layer_at


@dataclass(frozen=True)
class Size:
    """How large a detector is."""

    parameters: int
    """Of all three parts, statistics included."""
    operations: int
    """Floating-point operations of one detection, see ``frcnn_core.detector.flops``."""


@dataclass(frozen=True)
class LayerChange:
    """What becomes of the filters of one layer."""

    layer: str
    """As ``part/layer``."""
    before: int
    after: int
    frozen: bool
    """Whether it does not train; it is pruned all the same."""
    whole_because: str
    """Why none of its filters may go, after a colon; empty where they may."""


@dataclass(frozen=True)
class PruningReport:
    """What one threshold does to a model."""

    threshold: float
    criterion: Criterion
    layers: tuple[LayerChange, ...]
    """All that have filters, in the order that data flows."""
    before: Size
    after: Size
    height: int
    width: int
    """Of the image that operations are counted for, in pixels."""
    rois_per_image: int
    """In the same count."""

    @property
    def ratio(self) -> float:
        """Share of the parameters that is left."""
        return self.after.parameters / self.before.parameters

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "threshold": self.threshold,
            **asdict(self.criterion),
            "ratio": self.ratio,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "operations_of": {
                "image_height": self.height,
                "image_width": self.width,
                "rois": self.rois_per_image,
            },
            "layers": [asdict(layer) for layer in self.layers],
        }


@dataclass(frozen=True)
class Prunable:
    """A model from a file, its channels scored."""

    model: Model
    plan: Plan
    custom_layers: Mapping[str, type]
    height: int
    width: int
    rois_per_image: int
    operations: Mapping[str, int]
    """Of a detection in one image of this size, by layer."""

    def pruned(self, threshold: float) -> Model:
        """The smaller model.

        Raises:
            FrcnnError: the threshold is out of range.
        """
        return prune(self.model, self.plan, threshold, custom_layers=self.custom_layers)

    def size(self, threshold: float | None = None) -> Size:
        """How large the model would be, or is."""
        counts = {} if threshold is None else self.plan.counts(threshold)
        sizes = self.plan.sizes
        return Size(sizes.num_parameters(counts), sizes.num_operations(self.operations, counts))

    def report(self, threshold: float) -> PruningReport:
        """What the threshold does, found without building the smaller model."""
        counts, channels = self.plan.counts(threshold), self.plan.channels
        layers = []
        for path, read in channels.inputs.items():
            layer = layer_at(self.model.detector.parts, path)
            if hasattr(layer, "kernel"):
                groups: tuple[ChannelGroup, ...] = channels.outputs.get(path, read)
                change = LayerChange(
                    layer=path,
                    before=sum(group.size for group in groups),
                    after=sum(counts.get(group, group.size) for group in groups),
                    frozen=not layer.trainable,
                    whole_because=next((g.reason for g in groups if not g.prunable), ""),
                )
                layers.append(change)
        return PruningReport(
            threshold=threshold,
            criterion=self.plan.criterion,
            layers=tuple(layers),
            before=self.size(),
            after=self.size(threshold),
            height=self.height,
            width=self.width,
            rois_per_image=self.rois_per_image,
        )


def open_prunable(
    path: Path,
    key: str,
    plugins: Plugins,
    criterion: Criterion,
    *,
    excluded_layers: Collection[str] = (),
) -> Prunable:
    """The model in a file, ready to lose channels.

    Operations are counted for an image of the model's size, the largest one where that is dynamic,
    and for as many RoIs as the ``inference_config`` of its spec lets through.

    Args:
        excluded_layers: layers whose channels stay, as ``part/layer`` or ``layer``, besides those
            that the backbone names.

    Raises:
        FrcnnError: the file cannot be read, a layer is not there, or a weight is not finite.
    """
    model = open_model(path, key, plugins)
    parts = model.detector.parts
    check_layer_names(parts, excluded_layers)
    backbone = plugins.backbones.entry(model.arch.partition(":")[0]).component
    plan = Plan(parts, criterion, fixed={*backbone.unprunable, *excluded_layers})
    rois = rois_per_image(model.spec)
    height, width = model.preprocessing.largest_canvas
    images = (1, height, width, model.preprocessing.channels)
    return Prunable(
        model=model,
        plan=plan,
        custom_layers=backbone.custom_layers(),
        height=height,
        width=width,
        rois_per_image=rois,
        operations=flops.of_layers(model.detector, images, rois_per_image=rois),
    )
