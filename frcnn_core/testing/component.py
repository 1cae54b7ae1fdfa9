"""What every component must do, of whatever kind."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any, ClassVar

from frcnn_core.plugin import Component, NoOptions
from frcnn_core.plugin.options import describe, field_types, parse


class ComponentContract:
    """Base of the contracts; each kind's own names its component more plainly."""

    given: ClassVar[dict[str, Any]] = {}
    """Options to test the component with, as a spec would give them."""

    @property
    def component(self) -> Component:
        raise TypeError("Subclass the contract of one kind of component, not this base.")

    def options(self) -> Any:
        """The component's options, built from ``given``."""
        return parse(self._options_type(), self.given, where="given")

    def test_importing_the_plugin_leaves_tensorflow_alone(self) -> None:
        module = type(self.component).__module__
        code = f"import sys, {module}; print(*{{'tensorflow', 'keras'}} & set(sys.modules))"
        assert run_python(code) == ""

    def test_it_describes_itself_in_one_line(self) -> None:
        assert self.component.summary
        assert "\n" not in self.component.summary

    def test_its_options_are_a_frozen_dataclass_of_types_that_text_can_give(self) -> None:
        options = self._options_type()
        assert dataclasses.is_dataclass(options)
        assert options.__dataclass_params__.frozen  # type: ignore[attr-defined]  # not in typeshed
        for field in dataclasses.fields(options):
            kind = field_types(options)[field.name]
            assert describe(kind), f"{field.name} has a type that cannot be given as text"
            assert field.metadata.get("help"), f"{field.name} needs metadata={{'help': ...}}"

    def _options_type(self) -> type:
        return getattr(self.component, "Options", NoOptions)


def run_python(code: str) -> str:
    """What a fresh interpreter with this one's import path prints for ``code``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()
