"""Many pictures on one, in rows, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (255, 255, 255)
_GAP = 8
"""Pixels between pictures and around them."""
_FONT_SIZE = 13


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, Image.Image]]], *, side: int = 320
) -> Image.Image:
    """One picture of all.

    Args:
        rows: of (caption, picture); at least one picture.
        side: pixels that the longer side of a picture gets at most; smaller ones stay as they are.
    """
    shrunk = [[(caption, _shrunk(picture, side)) for caption, picture in row] for row in rows]
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=_FONT_SIZE))
    line = sum(font.getmetrics())
    columns = max(len(row) for row in shrunk)
    cell = max(picture.width for row in shrunk for _, picture in row)
    heights = [max(picture.height for _, picture in row) + line + _GAP for row in shrunk]
    sheet = Image.new("RGB", (_GAP + columns * (cell + _GAP), _GAP + sum(heights)), BACKGROUND)
    canvas, y = ImageDraw.Draw(sheet), _GAP
    for row, height in zip(shrunk, heights, strict=True):
        for column, (caption, picture) in enumerate(row):
            x = _GAP + column * (cell + _GAP)
            sheet.paste(picture, (x, y))
            text = _fitted(caption, font, cell)
            canvas.text((x, y + picture.height), text, fill=(0, 0, 0), font=font)
        y += height
    return sheet


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    factor = min(1.0, side / max(picture.size))
    width, height = (max(1, round(length * factor)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS) if factor < 1 else picture


def _fitted(caption: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of the end of a caption as fits; the end tells pictures of one image apart."""
    if font.getlength(caption) <= width:
        return caption
    while caption and font.getlength("…" + caption) > width:
        caption = caption[1:]
    return "…" + caption
