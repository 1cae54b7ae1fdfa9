"""What weights need in order to mean what they were trained to mean; it travels with the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Where weights are from, and what a spec has to say to use them."""

    arch: str
    """E.g. ``resnet:18``."""
    source: str
    """The file they were made from, and by what."""
    channel_order: str
    """``rgb``, ``bgr`` or ``l``."""
    means: tuple[float, ...]
    """In the order r, g, b, or (l,), in 0..255."""
    scale: float
    model_config: Mapping[str, bool | float | str] = field(default_factory=dict)
    backbone_options: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return {**asdict(self), "means": list(self.means)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Origin:
        """The inverse of ``as_dict``."""
        return cls(**{**fields, "means": tuple(fields["means"])})

    def input_fields(self) -> list[str]:
        """``input_image_config`` as one would type it, a line each."""
        keys = "l" if self.channel_order == "l" else "rgb"
        means = [
            f'image_channel_mean {{ key: "{key}" value: {mean:g} }}'
            for key, mean in zip(keys, self.means, strict=True)
        ]
        return [
            f'image_channel_order: "{self.channel_order}"',
            *means,
            f"image_scaling_factor: {self.scale:g}",
        ]

    def model_fields(self) -> list[str]:
        """The other fields of ``model_config`` that matter, a line each."""
        lines = [f"{name}: {_typed(value)}" for name, value in self.model_config.items()]
        return lines + [
            f'backbone_options {{ key: "{key}" value: "{value}" }}'
            for key, value in self.backbone_options.items()
        ]

    def spec(self, weights: str) -> str:
        """The part of a spec that uses the weights.

        Args:
            weights: path of the file.
        """
        lines = ["model_config {", f'  arch: "{self.arch}"', "  input_image_config {"]
        lines += [f"    {line}" for line in self.input_fields()]
        lines += ["  }", *(f"  {line}" for line in self.model_fields()), "}"]
        lines += ["training_config {", f'  pretrained_weights: "{weights}"', "}"]
        return "\n".join(lines)


def _typed(value: bool | float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
