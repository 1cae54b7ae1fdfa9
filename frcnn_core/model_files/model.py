"""A trained detector with all that is needed to use it: what a model file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from frcnn_core.data import Preprocessing
from frcnn_core.detector import Anchors, FasterRCNN
from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.archive import Archive
from frcnn_core.quantization import quantization

PARTS = ("features", "rpn", "head")

Provenance = tuple[dict[str, str], ...]
"""A component each that had a part in a model: its ``kind`` and ``name``, the ``plugin`` (its entry
point) it came from, and the ``distribution`` and ``version`` of that."""


@dataclass
class Model:
    """A detector, its classes, and how images reach it."""

    detector: FasterRCNN
    class_names: tuple[str, ...]
    """K names; class id i is the i-th."""
    preprocessing: Preprocessing
    arch: str
    """E.g. ``resnet:18``, as in the spec."""
    spec: str
    """Text of the spec that the model was trained with."""
    provenance: Provenance = ()
    """Which plugins made it."""
    progress: dict[str, Any] = field(default_factory=dict)
    """How far training got; see ``frcnn_core.training.trainer``."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """What happened to the weights, oldest first, ready for JSON; each has an ``event``:

    ``started``: a training; ``field`` and ``file`` say what from, ``arch`` what.
    ``trained``: an epoch of it; ``epoch``, ``losses`` with their ``total``, ``learning_rate``, and
    ``mAP`` where it was validated.
    ``pruned``: channels were taken out.

    Neither dates nor durations: equal trainings make equal files.
    """

    def __post_init__(self) -> None:
        if self.detector.dynamic_shape != self.preprocessing.is_dynamic:
            raise ValueError("Detector and preprocessing disagree about a dynamic shape.")

    @property
    def num_parameters(self) -> int:
        """Weights of all three parts, statistics included."""
        return sum(part.count_params() for part in self.detector.parts.values())

    @property
    def is_quantized(self) -> bool:
        """Whether it was trained with fake quantization (``enable_qat``)."""
        return quantization(self.detector.parts) is not None

    def to_archive(self, optimizer: keras.optimizers.Optimizer | None = None) -> Archive:
        """What a model file holds; with an optimizer, training can go on from it.

        Parts are always written in float32, whatever precision they were trained in.
        """
        parts = self.detector.parts
        return Archive(
            manifest={
                "arch": self.arch,
                "class_names": list(self.class_names),
                "preprocessing": self.preprocessing.as_dict(),
                "anchors": {
                    "scales": list(self.detector.anchors.scales),
                    "ratios": list(self.detector.anchors.ratios),
                },
                "regression_scale": list(self.detector.regression_scale),
                "provenance": list(self.provenance),
                "progress": self.progress,
                "history": list(self.history),
            },
            spec=self.spec,
            parts={name: with_precision(part.to_json(), "float32") for name, part in parts.items()},
            weights={name: np.asarray(v) for name, v in named_variables(parts).items()},
            optimizer={} if optimizer is None else _optimizer_state(optimizer),
        )

    @classmethod
    def from_archive(
        cls,
        archive: Archive,
        *,
        precision: str = "float32",
        custom_layers: Mapping[str, type] | None = None,
    ) -> Model:
        """The model that ``to_archive`` described.

        Args:
            archive: as read from a file.
            precision: Keras dtype policy to run the layers in.
            custom_layers: a plugin's own layer classes (``Backbone.custom_layers``).

        Raises:
            ModelFileError: the archive does not hold such a model.
        """
        manifest = archive.manifest
        try:
            parts = {name: archive.parts[name] for name in PARTS}
            preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
            detector = FasterRCNN(
                **{
                    name: keras.models.model_from_json(
                        with_precision(text, precision), custom_objects=dict(custom_layers or {})
                    )
                    for name, text in parts.items()
                },
                anchors=Anchors(**{key: tuple(v) for key, v in manifest["anchors"].items()}),
                regression_scale=tuple(manifest["regression_scale"]),
                dynamic_shape=preprocessing.is_dynamic,
            )
            model = cls(
                detector=detector,
                class_names=tuple(manifest["class_names"]),
                preprocessing=preprocessing,
                arch=manifest["arch"],
                spec=archive.spec,
                provenance=provenance_in(manifest),
                progress=manifest["progress"],
                # Files of before there was a history have none.
                history=list(manifest.get("history", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"The file holds no usable detector: {error}") from error
        model.set_weights(archive.weights)
        return model

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Give every variable its value by the name that ``to_archive`` writes.

        Raises:
            ModelFileError: a value is missing or of another shape.
        """
        for name, variable in named_variables(self.detector.parts).items():
            if name not in weights or weights[name].shape != tuple(variable.shape):
                found = weights[name].shape if name in weights else "nothing"
                raise ModelFileError(
                    f"Weights {name}: expected {tuple(variable.shape)}, found {found}."
                )
            variable.assign(weights[name])


def provenance_in(manifest: Mapping[str, Any]) -> Provenance:
    """Which plugins made the model of an archive, by its manifest."""
    found = manifest.get("provenance", ())
    # Early files had a dictionary of less; nothing depends on it.
    return () if isinstance(found, dict) else tuple(found)


def restore_optimizer(
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
    state: Mapping[str, np.ndarray],
) -> None:
    """Give a fresh optimizer of ``variables`` the state that ``Model.to_archive`` wrote.

    Raises:
        ModelFileError: the state is of another optimizer or of other variables.
    """
    optimizer.build(variables)
    slots = _slots(optimizer)
    if {n: tuple(v.shape) for n, v in slots.items()} != {n: a.shape for n, a in state.items()}:
        raise ModelFileError(
            "The checkpoint was trained with another optimizer, or other layers were frozen. "
            "To go on, use the spec it was trained with; to start over from its weights, set "
            "training_config.pretrained_weights instead of resume_from_model."
        )
    for name, variable in slots.items():
        variable.assign(state[name])


def with_precision(part: str, policy: str) -> str:
    """A part's Keras JSON config with every layer under another dtype policy.

    Args:
        part: JSON text, as of ``keras.Model.to_json``.
        policy: e.g. ``float32``, ``mixed_bfloat16``.
    """
    tensors = keras.DTypePolicy(policy).compute_dtype

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if node.get("class_name") == "DTypePolicy":
                return {**node, "config": {"name": policy}}
            if node.get("class_name") == "__keras_tensor__":
                return {**node, "config": {**node["config"], "dtype": tensors}}
            return {key: walk(value) for key, value in node.items()}
        return [walk(value) for value in node] if isinstance(node, list) else node

    return json.dumps(walk(json.loads(part)))


def named_variables(parts: Mapping[str, keras.Model]) -> dict[str, keras.Variable]:
    """Every variable by ``part/layer/variable``; equal names in a layer are numbered."""
    named: dict[str, keras.Variable] = {}
    for part, graph in parts.items():
        for layer in graph.layers:
            for variable in layer.variables:
                name = first = f"{part}/{layer.name}/{variable.name}"
                number = 1
                while name in named:
                    number += 1
                    name = f"{first}_{number}"
                named[name] = variable
    return named


def _slots(optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """The optimizer's variables, named by their order: Keras does not keep names unique."""
    return {f"{i:04d}_{v.name}": v for i, v in enumerate(optimizer.variables)}


def _optimizer_state(optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable) for name, variable in _slots(optimizer).items()}
