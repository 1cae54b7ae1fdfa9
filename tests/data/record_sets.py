"""What the tests of sources and of the pipeline share."""

from pathlib import Path

from frcnn_core.data.labels import Object


def labelled(name, y1, x1, y2, x2, occlusion=0):
    return Object(name, x1=x1, y1=y1, x2=x2, y2=y2, occlusion=occlusion)


def stems(batches) -> list[str]:
    """Names of all images, without folder and extension, in the order they come."""
    return [Path(name.decode()).stem for batch in batches for name in batch.names.numpy()]
