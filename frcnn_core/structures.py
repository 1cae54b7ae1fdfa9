"""The values that travel between modules, with their shapes.

Shape letters used by every docstring in this project:

    B images in a batch        H, W image height and width in pixels
    h, w feature map size      A    anchors per feature map cell
    N anchors in an image      G    ground-truth boxes in an image (padded)
    P proposals in an image    R    RoIs in an image
    D detections in an image   K    classes, background not counted
    C channels                 S    side of a pooled RoI in cells

Boxes are float32 ``(y1, x1, y2, x2)`` with the origin in the top-left corner, continuous
coordinates (no +1 anywhere).  Fields named ``boxes`` are in pixels of the network input in
``Batch``, ``Proposals`` and ``Detections``, and in pixels of the original image in
``GroundTruth`` and ``ImageDetections``.

Imports nothing: the same tuples hold TensorFlow tensors inside the graph and numpy arrays
outside of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Images ready for the network, and what is in them."""

    images: Any
    """(B, H, W, C) float32, preprocessed."""
    sizes: Any
    """(B, 2) float32 valid height and width in pixels; the rest of each image is padding."""
    scales: Any
    """(B, 2) float32 (y, x): network pixels per pixel of the original image."""
    boxes: Any
    """(B, G, 4) float32 ground truth in network pixels; rows of zeros are padding."""
    classes: Any
    """(B, G) int32 in 0..K-1, -1 for padding."""
    difficult: Any
    """(B, G) bool: counted neither as found nor as missed in evaluation."""
    names: Any
    """(B,) string: path of each image file, for messages.  Empty for what is no image of the
    data: it is there because other processes have one, and has no weight."""


class Proposals(NamedTuple):
    """What the RPN keeps of an image."""

    boxes: Any
    """(B, P, 4) network pixels, best first; rows of zeros are padding."""
    scores: Any
    """(B, P) float32 objectness, 0 for padding."""


class Detections(NamedTuple):
    """The detector's answer for a batch, in network pixels."""

    boxes: Any
    """(B, D, 4), best score first; rows of zeros are padding."""
    scores: Any
    """(B, D) float32, 0 for padding."""
    classes: Any
    """(B, D) int32 in 0..K-1, -1 for padding."""
    counts: Any
    """(B,) int32 how many rows are detections."""
    proposals: Any
    """(B, P, 4) what the RPN proposed; rows of zeros are padding.  None where the runtime of an
    exported file does not tell them."""


class GroundTruth(NamedTuple):
    """What is in one image, as numpy arrays, in pixels of the original image."""

    name: str
    """Path or id of the image."""
    boxes: Any
    """(G, 4)."""
    classes: Any
    """(G,) int in 0..K-1."""
    difficult: Any
    """(G,) bool."""


class ImageDetections(NamedTuple):
    """What was detected in one image, as numpy arrays, in pixels of the original image."""

    boxes: Any
    """(D, 4)."""
    scores: Any
    """(D,) float."""
    classes: Any
    """(D,) int in 0..K-1."""
    proposals: Any
    """(P, 4), or None where the runtime does not tell them."""
