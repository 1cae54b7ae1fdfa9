"""Names to components, with errors that say what to type instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Generic, TypeVar

from frcnn_core.errors import PluginError, UnknownComponentError
from frcnn_core.plugin.components import Component

T = TypeVar("T", bound=Component)


@dataclass(frozen=True)
class Registered(Generic[T]):
    """A component and where it came from."""

    component: T
    plugin: str
    """Name of the entry point."""
    distribution: str
    """Name and version of the distribution that has the entry point."""
    seconds: float = 0.0
    """How long the plugin took to load, with all its components."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules the component requires and this environment lacks; imports none of them."""
        return tuple(
            module
            for module in self.component.requires
            if find_spec(module.partition(".")[0]) is None
        )

    def require(self) -> None:
        """See that the component can be used here.

        Raises:
            PluginError: modules it requires are missing; says what to type.
        """
        if self.missing:
            name, owner = self.component.name, self.distribution.partition(" ")[0]
            packages = dict.fromkeys(module.partition(".")[0] for module in self.missing)
            what = f"'frcnn[{name}]'" if owner == "frcnn" else " ".join(packages)
            raise PluginError(f"{name} needs {', '.join(self.missing)}: pip install {what}")


@dataclass(frozen=True)
class Absent:
    """A plugin that is installed and provides nothing: it failed to load, or is hidden."""

    plugin: str
    distribution: str
    reason: str
    """Why, as the end of a sentence that begins with the plugin's name."""
    seconds: float = 0.0
    """How long it took until that was known."""

    def __str__(self) -> str:
        return f"Plugin {self.plugin!r} ({self.distribution}) {self.reason}"


class Registry(Generic[T]):
    """The components of one kind, by name.

    Args:
        kind: what messages call such a component, e.g. ``LR schedule``.
        absent: plugins that might have provided what is not found here; read when needed.
    """

    def __init__(self, kind: str, absent: list[Absent]):
        self.kind = kind
        self._absent = absent
        self._by_name: dict[str, list[Registered[T]]] = {}

    def add(self, entry: Registered[T]) -> None:
        """Several entries of one name are kept: asking for that name is the error."""
        self._by_name.setdefault(entry.component.name, []).append(entry)

    def get(self, name: str, *, where: str = "") -> T:
        """The component called ``name``; arguments and errors as ``entry``."""
        return self.entry(name, where=where).component

    def entry(self, name: str, *, where: str = "") -> Registered[T]:
        """The component called ``name``, and where it came from.

        Args:
            name: as the spec writes it.
            where: the spec field or command that asks, for the error message.

        Raises:
            UnknownComponentError: no plugin provides it.
            PluginError: several do.
        """
        entries = self.claims(name)
        if not entries:
            raise UnknownComponentError(self._explain(name, where))
        if len(entries) > 1:
            claims = " and ".join(f"{e.plugin!r} ({e.distribution})" for e in entries)
            raise PluginError(
                f"The {self.kind} {name!r} is provided by {claims}. "
                "Uninstall one, or hide it with FRCNN_DISABLE_PLUGINS."
            )
        return entries[0]

    def claims(self, name: str) -> tuple[Registered[T], ...]:
        """Every entry called ``name``; more than one is a clash."""
        return tuple(self._by_name.get(name, ()))

    def __iter__(self) -> Iterator[Registered[T]]:
        for name in sorted(self._by_name):
            yield from self._by_name[name]

    def _explain(self, name: str, where: str) -> str:
        lines = [f"{where + ': ' if where else ''}no {self.kind} is called {name!r}."]
        if close := get_close_matches(name, self._by_name, n=1):
            lines.append(f"Did you mean {close[0]!r}?")
        lines.append(f"Installed: {', '.join(sorted(self._by_name)) or 'none'}.")
        lines.extend(str(plugin) for plugin in self._absent)
        return "\n  ".join(lines)
