"""Trains the same detector on one device and on two, and writes what came of it, as JSON.

``tests/detector/test_placement.py`` runs it: a process gets two devices of a CPU only before
TensorFlow starts, and then has them for good.

    python tests/placed_trainings.py FOLDER
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf
import toy
from tensorflow.python.eager import context  # nothing public tells where operations ended up

from frcnn_core import assemble
from frcnn_core.detector import placement, precision
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.model_files import archive
from frcnn_core.spec.load import loads
from frcnn_core.training.trainer import Trainer

ONE, TWO = ("CPU:0", "CPU:0"), ("CPU:0", "CPU:1")
FRACTIONS = (0.3, 0.7)
MOMENTUM = "sgd { momentum: 0.9 }"
"""Adam divides by the size of gradients, and so makes as much of rounding as of anything else."""
CASES = {
    "moving statistics": {},
    "frozen statistics": {
        "model": "freeze_bn: True freeze_blocks: 0 freeze_blocks: 2",
        "optimizer": MOMENTUM,
    },
    "quantized": {"training": "enable_qat: True", "optimizer": MOMENTUM},
    "mixed_bfloat16": {"policy": "mixed_bfloat16", "optimizer": MOMENTUM},
    "mixed_float16": {"policy": "mixed_float16", "optimizer": MOMENTUM},
    "branches": {"arch": "resnet:10", "optimizer": MOMENTUM},
}
SETTINGS = DetectionSettings(rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16)


def trainer(
    folder: Path,
    *,
    devices: Sequence[str] = (),
    arch: str = "toy",
    policy: str = "float32",
    resume: Path | None = None,
    **fields: str,
) -> Trainer:
    """A training of one epoch of three steps.

    Args:
        devices: those to divide the layers among; none for a training without placement.
        policy: Keras dtype policy.
        fields: as ``toy.spec_text`` takes them.
    """
    more = fields.pop("training", "")
    if devices:
        more += f" model_parallelism: {list(FRACTIONS)}"
    if resume:
        more += f' resume_from_model: "{resume}"'
    text = toy.spec_text(folder, epochs=1, batch_size=2, training=more, **fields)
    with mock.patch.object(precision, "policy", lambda *, use_amp: policy):
        made = assemble.training(
            loads(text.replace('arch: "toy"', f'arch: "{arch}"')),
            toy.plugins(),
            results_dir=Path(tempfile.mkdtemp(dir=folder)),
            devices=devices,
        )
    return made.trainer


class Training:
    """A training to its end: its trainer, the model before it, its events, and its last file."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.before = trainer.model.to_archive()
        self._run = trainer.run()
        self._events: list = []

    def first_step(self) -> None:
        self._events.append(next(self._run))

    @cached_property
    def events(self) -> list:
        return [*self._events, *self._run]

    @cached_property
    def file(self) -> archive.Archive:
        return archive.read(self.events[-1].checkpoint, "")


def compared(folder: Path, **given) -> dict:
    """How far a training on two devices is from another one, and where its variables are.

    The other is without placement.  In 16 bits the order of a sum shows, and that is another where
    a tape is at work; so there it is one with the same device twice.
    """
    other = Training(trainer(folder, devices=ONE if "policy" in given else (), **given))
    return told(other, Training(trainer(folder, devices=TWO, **given)), exact="policy" in given)


def told(other: Training, placed: Training, *, exact: bool) -> dict:
    """The same of trainings that may have been run already."""
    devices = placement.assign(placed.trainer.model.detector.parts, FRACTIONS, TWO)
    return {
        "exact": exact,
        "steps": len(placed.events) - 1,
        "moved": largest_gap(other.before.weights, placed.file.weights),
        "layers": Counter(devices.values()),
        "astray": astray(placed.trainer, devices),
        "same parts": other.before.parts == placed.file.parts,
        "gaps": {
            "losses": max(
                largest_gap(a.losses, b.losses)
                for a, b in zip(other.events, placed.events, strict=True)
            ),
            "weights": largest_gap(other.file.weights, placed.file.weights),
            "optimizer": largest_gap(other.file.optimizer, placed.file.optimizer),
            "detections": largest_gap(detections(other.trainer), detections(placed.trainer)),
        },
    }


def detections(found: Trainer) -> dict:
    images = tf.constant(np.random.default_rng(3).normal(size=(2, 64, 64, 3)), tf.float32)
    sizes = tf.constant([[64.0, 64.0], [64.0, 48.0]])
    return found.model.detector.detect(images, sizes, SETTINGS)._asdict()


def largest_gap(expected: dict, found: dict) -> float:
    """The largest difference of any two numbers; infinity where there is no counterpart."""
    if expected.keys() != found.keys():
        return float("inf")
    return max(
        float(np.abs(np.subtract(expected[name], found[name], dtype=np.float64)).max(initial=0.0))
        for name in expected
    )


def astray(found: Trainer, devices: dict[str, str]) -> list[str]:
    """Variables that are not where their layer is, the optimizer's included."""
    detector, wrong = found.model.detector, []
    for name, part in detector.parts.items():
        for layer in part.layers:
            for variable in layer.variables:
                if not variable.value.device.endswith(devices[f"{name}/{layer.name}"]):
                    wrong.append(variable.path)
    trained = {v.path.replace("/", "_"): v.value.device for v in detector.trainable_variables}
    for slot in found.optimizer.variables:
        at = {device for path, device in trained.items() if f"/{path}_" in slot.path}
        if at and at != {slot.value.device}:
            wrong.append(slot.path)
    return wrong


def operations(placed: Training) -> dict:
    """What runs on which device in the first step of a training on two."""
    context.context().enable_run_metadata()
    placed.first_step()
    graphs = context.context().export_run_metadata().partition_graphs
    context.context().disable_run_metadata()
    nodes = [node for graph in graphs for node in graph.node]
    detector = placed.trainer.model.detector
    trained = Counter(v.value.device[-5:] for v in detector.trainable_variables)
    return {
        "trained": trained,
        "convolutions": _count(nodes, lambda op: "Conv2D" in op and "Backprop" not in op),
        "filter gradients": _count(nodes, lambda op: "Conv2DBackpropFilter" in op),
        "normalizations": _count(nodes, lambda op: "FusedBatchNorm" in op and "Grad" not in op),
        "their gradients": _count(nodes, lambda op: "FusedBatchNormGrad" in op),
        "products of the backward pass": Counter(
            node.device[-5:]
            for node in nodes
            if "MatMul" in node.op and node.name.startswith("gradients")
        ),
        "crops": _count(nodes, lambda op: op == "CropAndResize"),
        "suppressions": _count(nodes, lambda op: op == "CombinedNonMaxSuppression"),
        "square roots": _count(nodes, lambda op: op == "Sqrt"),
        "joint identities": _count(nodes, lambda op: op == "IdentityN"),
    }


def _count(nodes, is_meant) -> Counter:
    return Counter(node.device[-5:] for node in nodes if is_meant(node.op))


def resumed(folder: Path, whole: Training) -> dict:
    """How far a training on one device that was begun on two is from one in one go, and back."""
    found = {}
    for name, first, then in (("to one", TWO, ()), ("to two", (), TWO)):
        began = trainer(folder, devices=first)
        began.stop()
        interrupted = list(began.run())[-1]
        *_, end = trainer(folder, devices=then, resume=interrupted.checkpoint).run()
        found[name] = largest_gap(whole.file.weights, archive.read(end.checkpoint, "").weights)
    return found


def main(folder: Path) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    toy.write_scenes(folder, "train", 6, seed=1)
    whole, placed = Training(trainer(folder)), Training(trainer(folder, devices=TWO))
    # First: what ran before would be among them.
    report = {"operations": operations(placed)}
    first, *cases = CASES
    report["cases"] = {first: told(whole, placed, exact=False)}
    report["cases"] |= {name: compared(folder, **CASES[name]) for name in cases}
    report["resumed"] = resumed(folder, whole)
    (folder / "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
