"""What the tests of imported weights share."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from frcnn_core import weights
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.plugin.arch import resolve
from frcnn_core.plugin.discovery import installed
from frcnn_core.plugin.options import parse
from frcnn_core.weights.importing import import_weights


class Importing:
    """``frcnn weights import``, and the network of a spec that follows what it says."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, source: Path, arch: str, **config):
        """The two parts with imported weights, what was imported, and the preprocessing.

        Args:
            config: fields of ``BackboneConfig`` beside those that the import demands.
        """
        backbone, variant = resolve(arch, installed().backbones)
        imported = import_weights(source, backbone, variant)
        output = self.folder / "imported.h5"
        weights.write_weights(output, imported.layers, imported.origin)

        origin = weights.read_origin(output)
        options = parse(backbone.Options, origin.backbone_options, where="backbone_options")
        demanded = {"all_projections": False, **origin.model_config}
        parts = draw_backbone(
            backbone, BackboneConfig(variant=variant, options=options, **demanded, **config)
        )
        report = weights.assign(parts, weights.read_weights(output))
        kept = {row.layer for row in report.layers if row.status == "No"}
        assert set(imported.left_out) <= kept
        assert len(kept) + len(imported.layers) == imported.num_layers
        preprocessing = Preprocessing(
            height=64,
            width=64,
            channel_order=origin.channel_order,
            means=origin.means,
            scale=origin.scale,
        )
        return parts, imported, preprocessing


@pytest.fixture
def importing(tmp_path) -> Importing:
    return Importing(tmp_path)


def randomize(model: keras.Model) -> None:
    """Give normalizations and biases random values, as training would."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight, (low, high) in zip(
                layer.weights, ((0.5, 1.5), (-0.3, 0.3), (-0.3, 0.3), (0.5, 1.5)), strict=True
            ):
                weight.assign(random.uniform(low, high, weight.shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(random.uniform(-0.3, 0.3, layer.bias.shape))


def pixels(height: int, width: int) -> np.ndarray:
    """(1, height, width, 3) float32 in 0..255, smooth enough to look like something."""
    coarse = np.random.default_rng(1).uniform(0, 255, (1, height // 8, width // 8, 3))
    return np.repeat(np.repeat(coarse, 8, 1), 8, 2).astype("float32")


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """The format in seven lines, by its published description."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, "<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
