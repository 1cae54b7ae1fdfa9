"""Runs exported detectors with LiteRT, the interpreter of TensorFlow Lite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import Runtime
from frcnn_core.processes import num_cores
from frcnn_core.structures import Detections
from frcnn_onnx.outputs import cut
from frcnn_tflite import description
from frcnn_tflite.network import IMAGES, SIZES


def load(path: Path) -> Runtime:
    """A runtime for a file that ``frcnn export tflite`` wrote.  It takes batches image by image, on
    all cores.

    Images are preprocessed, as for any runtime.  A file that takes pixels is given what they were
    before, rounded to whole numbers.

    Raises:
        ModelFileError: LiteRT cannot run it, or another program made it.
    """
    described = description.read(path)
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=num_cores())
        run = interpreter.get_signature_runner("serving_default")
        takes_sizes = SIZES in run.get_input_details()
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} cannot be run by LiteRT: {error}") from error

    def detect(images: Any, sizes: Any) -> Detections:
        images, sizes = np.asarray(images), np.asarray(sizes, np.float32)
        if described.embedded_preprocessing:
            images = described.preprocessing.pixels(images)
        answers = []
        for image, size in zip(images[:, None], sizes[:, None], strict=True):
            given = {IMAGES: image} | ({SIZES: size} if takes_sizes else {})
            answers.append(run(**given))
        names = [name for name in Detections._fields if name != "proposals"]
        found = {name: np.concatenate([answer[name] for answer in answers]) for name in names}
        return cut(Detections(**found, proposals=None), sizes)

    return Runtime(
        detect,
        described.class_names,
        described.preprocessing,
        described.settings,
        described.precision,
        knows_sizes=takes_sizes,
        rounds_pixels=described.embedded_preprocessing,
    )
