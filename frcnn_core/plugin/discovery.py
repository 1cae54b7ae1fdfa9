"""Finds installed plugins and asks each for its components."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from time import perf_counter
from types import ModuleType

import pluggy

from frcnn_core.errors import PluginError, UnknownComponentError
from frcnn_core.plugin import compatibility, hookspecs
from frcnn_core.plugin.compatibility import Incompatible, require_compatible
from frcnn_core.plugin.components import (
    Backbone,
    Component,
    Exporter,
    LabelFormat,
    LRSchedule,
    Metric,
    Optimizer,
)
from frcnn_core.plugin.registry import Absent, Registered, Registry

HIDE = "FRCNN_DISABLE_PLUGINS"
"""Environment variable: names of entry points to leave alone, separated by commas."""

UNKNOWN = "unknown distribution"
"""Instead of name and version, where an entry point has no distribution."""


@dataclass(frozen=True)
class Kind:
    """A kind of component."""

    key: str
    """What ``frcnn plugins --kind`` takes."""
    words: str
    """What messages call it."""
    base: type[Component]

    @property
    def hook(self) -> str:
        return f"frcnn_register_{self.key}s"


KINDS = (
    Kind("backbone", "backbone", Backbone),
    Kind("lr_schedule", "LR schedule", LRSchedule),
    Kind("optimizer", "optimizer", Optimizer),
    Kind("metric", "metric", Metric),
    Kind("exporter", "exporter", Exporter),
    Kind("label_format", "label format", LabelFormat),
)


class Plugins:
    """The registries filled from a set of entry points.

    A plugin that cannot be loaded is noted in ``broken`` and leaves the others alone; a name
    that two plugins claim is an error only for those who ask for it.

    Args:
        found: entry points of the group ``frcnn``.
        hidden: names of those that must not be loaded.
    """

    def __init__(self, found: Iterable[EntryPoint], *, hidden: Collection[str] = ()):
        self.broken: list[Absent] = []
        self.hidden: list[Absent] = []
        self._absent: list[Absent] = []
        self.registries: dict[str, Registry] = {
            kind.key: Registry(kind.words, self._absent) for kind in KINDS
        }
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for entry_point in sorted(found, key=lambda found: (found.name, _distribution(found))):
            if entry_point.name in hidden:
                self._leave_out(entry_point, self.hidden, f"is hidden by {HIDE}.")
            else:
                self._add(entry_point)

    @property
    def backbones(self) -> Registry[Backbone]:
        return self.registries["backbone"]

    @property
    def lr_schedules(self) -> Registry[LRSchedule]:
        return self.registries["lr_schedule"]

    @property
    def optimizers(self) -> Registry[Optimizer]:
        return self.registries["optimizer"]

    @property
    def metrics(self) -> Registry[Metric]:
        return self.registries["metric"]

    @property
    def exporters(self) -> Registry[Exporter]:
        return self.registries["exporter"]

    @property
    def label_formats(self) -> Registry[LabelFormat]:
        return self.registries["label_format"]

    def entry(self, name: str, kind: str = "") -> tuple[Kind, Registered]:
        """The component called ``name``, of whatever kind.

        Args:
            kind: a ``Kind.key``, for a name that several kinds have.

        Raises:
            UnknownComponentError: no plugin provides it.
            PluginError: several kinds have it, or several plugins claim it.
        """
        if kind:
            (found,) = (one for one in KINDS if one.key == kind)
            return found, self.registries[kind].entry(name)
        kinds = [one for one in KINDS if self.registries[one.key].claims(name)]
        if not kinds:
            raise UnknownComponentError(self._explain(name))
        if len(kinds) > 1:
            words = " and ".join(f"{_a(one.words)} (--kind {one.key})" for one in kinds)
            raise PluginError(f"{name!r} is the name of {words}. Say which is meant.")
        return kinds[0], self.registries[kinds[0].key].entry(name)

    def _explain(self, name: str) -> str:
        known = {entry.component.name for one in self.registries.values() for entry in one}
        lines = [f"no component is called {name!r}."]
        if close := get_close_matches(name, known, n=1):
            lines.append(f"Did you mean {close[0]!r}?")
        lines.append("`frcnn plugins` lists what is installed.")
        lines.extend(map(str, self._absent))
        return "\n  ".join(lines)

    def _add(self, entry_point: EntryPoint) -> None:
        distribution = _distribution(entry_point)
        start = perf_counter()
        try:
            if entry_point.dist:
                require_compatible(entry_point.dist)
            components = self._load(entry_point)
        except (Exception, SystemExit) as error:  # one bad plugin must not take the others down
            reason = str(error) if isinstance(error, PluginError) else _in_words(error)
            if not isinstance(error, Incompatible):
                reason = f"failed to load: {reason}"
            self._leave_out(entry_point, self.broken, reason, perf_counter() - start)
            return
        seconds = perf_counter() - start
        for kind, component in components:
            entry = Registered(component, entry_point.name, distribution, seconds)
            self.registries[kind.key].add(entry)

    def _leave_out(
        self, entry_point: EntryPoint, where: list[Absent], reason: str, seconds: float = 0.0
    ) -> None:
        plugin = Absent(entry_point.name, _distribution(entry_point), reason, seconds)
        where.append(plugin)
        self._absent.append(plugin)

    def _load(self, entry_point: EntryPoint) -> list[tuple[Kind, Component]]:
        module = entry_point.load()
        if self._manager.is_registered(module):
            raise PluginError(f"{entry_point.value} is registered already, by another plugin.")
        try:
            # Two distributions may use one name for their entry points; pluggy wants them apart.
            self._manager.register(module, name=f"{entry_point.name} {entry_point.value}")
            self._check_hooks(module)
            return list(self._components(module))
        except BaseException:
            if self._manager.is_registered(module):  # pluggy drops some that it refuses
                self._manager.unregister(module)
            raise

    def _check_hooks(self, module: ModuleType) -> None:
        callers = self._manager.get_hookcallers(module) or []
        if not callers:
            raise PluginError("it implements no hook; is @hookimpl missing?")
        for caller in callers:
            if not caller.has_spec():
                close = get_close_matches(caller.name, [kind.hook for kind in KINDS], n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise PluginError(f"it implements {caller.name!r}, which is no hook.{hint}")

    def _components(self, module: ModuleType) -> Iterator[tuple[Kind, Component]]:
        for kind in KINDS:
            for implementation in getattr(self._manager.hook, kind.hook).get_hookimpls():
                if implementation.plugin is module:
                    yield from _checked(kind, implementation.function())


def _checked(kind: Kind, answer: object) -> Iterator[tuple[Kind, Component]]:
    """What a hook returned, if it is what the hook should return."""
    if not isinstance(answer, Iterable):
        raise PluginError(f"{kind.hook} returned {answer!r}, not a list.")
    for component in answer:
        if inspect.isclass(component) and issubclass(component, kind.base):
            raise PluginError(
                f"{kind.hook} returned the class {component.__name__}; "
                f"return an instance, {component.__name__}()."
            )
        if not isinstance(component, kind.base):
            raise PluginError(f"{kind.hook} returned {component!r}, not a {kind.base.__name__}.")
        name = getattr(component, "name", None)
        if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_.-]+", name)):
            raise PluginError(
                f"{type(component).__name__}.name is {name!r}; "
                "give it letters, digits and underscores."
            )
        yield kind, component


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeioL' else 'a'} {words}"  # an LR schedule


def _distribution(entry_point: EntryPoint) -> str:
    """Name and version, e.g. ``frcnn 0.1.0``."""
    return (
        " ".join(compatibility.name_and_version(entry_point.dist)) if entry_point.dist else UNKNOWN
    )


def name_and_version(distribution: str) -> tuple[str, str]:
    """``frcnn 0.1.0`` in two; both are empty where it is ``UNKNOWN``."""
    name, _, version = distribution.rpartition(" ")
    return ("", "") if distribution == UNKNOWN else (name, version)


def _in_words(error: BaseException) -> str:
    """One line, with the type where the message alone says little."""
    message = " ".join(str(error).split())
    if isinstance(error, ImportError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


@cache
def installed() -> Plugins:
    """The plugins of this Python environment, less those named in FRCNN_DISABLE_PLUGINS."""
    hidden = {name.strip() for name in os.environ.get(HIDE, "").split(",")}
    return Plugins(entry_points(group=hookspecs.PROJECT), hidden=hidden)
