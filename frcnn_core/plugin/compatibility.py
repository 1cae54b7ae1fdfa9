"""Whether an installed plugin was written for this frcnn, told from metadata alone."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, version

from frcnn_core.errors import PluginError
from frcnn_core.plugin.hookspecs import API_GROUP, API_VERSION, PROJECT


class Incompatible(PluginError):
    """A plugin for another frcnn; the message is the end of a sentence, and says what to type."""


@cache
def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """As its metadata says, which Python parses at every look, with the README that is in it."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def require_compatible(distribution: Distribution) -> None:
    """Pass a distribution whose plugins can be imported.

    Raises:
        Incompatible: it was written for another version of the plugin API, or demands another
            frcnn, which pip can be told to ignore.
    """
    if name_and_version(distribution)[0] == PROJECT:
        return
    _require_api(distribution)
    _require_frcnn(distribution)


def _require_api(distribution: Distribution) -> None:
    declared = _declared_api(distribution)
    if declared == API_VERSION:
        return
    raise Incompatible(
        f"is for version {declared} of the plugin API, and frcnn {_frcnn()} has version "
        f"{API_VERSION}: {_upgrade(distribution, frcnn_is_older=declared > API_VERSION)}"
    )


def _declared_api(distribution: Distribution) -> int:
    for entry_point in distribution.entry_points:
        if entry_point.group == API_GROUP and entry_point.name == "version":
            found = re.fullmatch(r"v?(\d+)", entry_point.value)
            if not found:
                raise Incompatible(
                    f"declares the plugin API {entry_point.value!r}, which is no version; its "
                    f'pyproject.toml should have version = "v{API_VERSION}" there.'
                )
            return int(found[1])
    return 1


def _require_frcnn(distribution: Distribution) -> None:
    demands = [line for line in distribution.requires or () if re.match(rf"{PROJECT}\b", line)]
    if not (demands and (own := _frcnn())):
        return
    from packaging.requirements import Requirement  # 17 ms, for third-party plugins only

    for demand in map(Requirement, demands):
        applies = demand.marker is None or demand.marker.evaluate({"extra": ""})
        if (
            demand.name == PROJECT
            and applies
            and not demand.specifier.contains(own, prereleases=True)
        ):
            newer_is_wanted = any(
                part.operator in (">", ">=", "~=", "==")
                and not part.contains(own, prereleases=True)
                for part in demand.specifier
            )
            raise Incompatible(
                f"needs frcnn{demand.specifier}, and {own} is installed: "
                f"{_upgrade(distribution, frcnn_is_older=newer_is_wanted)}"
            )


def _upgrade(distribution: Distribution, *, frcnn_is_older: bool) -> str:
    return (
        f"pip install --upgrade {PROJECT if frcnn_is_older else name_and_version(distribution)[0]}"
    )


def _frcnn() -> str:
    """Version of the installed frcnn; empty where it runs without being installed."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return ""
