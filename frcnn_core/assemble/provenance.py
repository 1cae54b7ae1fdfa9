"""Which plugins made a model, and what to install where one of them is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from frcnn_core.errors import UnknownComponentError
from frcnn_core.model_files import Provenance
from frcnn_core.plugin import PROJECT, Backbone, Plugins, name_and_version

logger = logging.getLogger(__name__)


def record(plugins: Plugins, wanted: Iterable[tuple[str, str]]) -> Provenance:
    """What a model file says about components that had a part in a model.

    Args:
        wanted: kind (``Kind.key``) and name of each.
    """
    made = []
    for kind, name in wanted:
        entry = plugins.registries[kind].entry(name)
        distribution, version = name_and_version(entry.distribution)
        made.append(
            {
                "kind": kind,
                "name": name,
                "plugin": entry.plugin,
                "distribution": distribution,
                "version": version,
            }
        )
    return tuple(made)


def extended(earlier: Provenance, later: Provenance) -> Provenance:
    """Both, each entry once: a training may go on with other versions than it began with."""
    return earlier + tuple(entry for entry in later if entry not in earlier)


def backbone_of(name: str, provenance: Provenance, plugins: Plugins, path: Path) -> Backbone:
    """The component that drew a model's backbone; warns if it is not the very same.

    Args:
        name: of the backbone, without its variant.
        provenance: of the model.
        path: its file, for messages.

    Raises:
        UnknownComponentError: it is not installed, or does not work; says what to type.
    """
    entries = [one for one in provenance if one["kind"] == "backbone" and one["name"] == name]
    made = entries[-1] if entries and entries[-1]["distribution"] else None
    if made and not plugins.backbones.claims(name):
        raise UnknownComponentError(_explain(made, plugins, path))
    entry = plugins.backbones.entry(name, where=str(path))
    ours = made and made["distribution"] == PROJECT  # what an upgrade changes, its tests hold
    if made and not ours and entry.distribution != _in_words(made):
        logger.warning("%s; here it is of %s.", _sentence(made, path), entry.distribution)
    return entry.component


def _explain(made: dict[str, str], plugins: Plugins, path: Path) -> str:
    """Why the backbone that a model was made with is not there."""
    sentence, distribution = _sentence(made, path), made["distribution"]
    for plugin in (*plugins.broken, *plugins.hidden):
        if (plugin.plugin, name_and_version(plugin.distribution)[0]) == (
            made["plugin"],
            distribution,
        ):
            return f"{sentence}.\n  {plugin}"
    installed = {entry.distribution for one in plugins.registries.values() for entry in one}
    others = [one for one in installed if name_and_version(one)[0] == distribution]
    why = f"; {others[0]} has no such backbone" if others else ", which is not installed"
    return f"{sentence}{why}.\n  pip install '{distribution}=={made['version']}'"


def _sentence(made: dict[str, str], path: Path) -> str:
    return f"{path} was made with the backbone {made['name']!r} of {_in_words(made)}"


def _in_words(made: dict[str, str]) -> str:
    return f"{made['distribution']} {made['version']}"
