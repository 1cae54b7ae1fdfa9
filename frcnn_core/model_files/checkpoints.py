"""Which epochs of a training are kept on disk, and under what names.

Every ``checkpoint_interval``-th epoch is kept, and always the last one and the one with the best
mAP.  A small JSON file beside the checkpoints says which is which.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from frcnn_core.errors import TrainingError
from frcnn_core.files import write_whole

# TLT 3.0 writes name.epoch12.tlt, TAO 5.0 name.epoch_12.hdf5.
_EPOCH = r"\.epoch_?(\d+)"
_STEP = r"(?:\.step_\d+)?"
_SUFFIX = r"\.[^.]+"
_MODEL_SUFFIXES = (".tlt", ".hdf5", ".h5", ".keras")


def parse_epoch(path: Path) -> int | None:
    """How many epochs were finished when a checkpoint was written, by its name, or None.

    That is 12 of ``a.epoch_12.tlt``, and of ``a.epoch_12.step_340.tlt``, which an interrupted
    training leaves.
    """
    found = re.search(_EPOCH + _STEP + _SUFFIX + "$", Path(path).name)
    return int(found[1]) if found else None


def latest(directory: Path) -> Path | None:
    """The checkpoint in ``directory`` that was written last, or None."""
    found = [path for path in Path(directory).glob("*.tlt") if parse_epoch(path) is not None]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def how_to_resume(checkpoint: Path) -> str:
    """What to type to go on from ``checkpoint``."""
    return f'To go on, set in the spec: training_config {{ resume_from_model: "{checkpoint}" }}'


@dataclass(frozen=True)
class Naming:
    """What the checkpoints of one training are called."""

    directory: Path
    stem: str
    mark: str = ".epoch_"

    @classmethod
    def of(cls, *, arch: str, output_model: str = "", results_dir: str | Path = "") -> Naming:
        """Names as TLT 3.0 gives them when the spec has an ``output_model``, else as TAO 5.0 does.

        Args:
            arch: e.g. ``resnet:18``, for ``frcnn_resnet_18.epoch_12.tlt``.
            output_model: e.g. ``out/kitti.tlt``, for ``out/kitti.epoch12.tlt``.
            results_dir: replaces the folder of ``output_model`` when both are given.
        """
        if not output_model:
            return cls(Path(results_dir), f"frcnn_{arch.replace(':', '_')}")
        model = Path(output_model)
        stem = model.stem if model.suffix in _MODEL_SUFFIXES else model.name
        return cls(Path(results_dir) if results_dir else model.parent, stem, mark=".epoch")

    def path(self, epoch: int) -> Path:
        """Where the checkpoint of ``epoch`` (counted from 1) goes."""
        return self.directory / f"{self.stem}{self.mark}{epoch}.tlt"

    def existing(self) -> dict[int, Path]:
        """The checkpoints of whole epochs of this name that are on disk, by epoch."""
        pattern = re.compile(re.escape(self.stem) + _EPOCH + _SUFFIX)
        paths = self.directory.iterdir() if self.directory.is_dir() else ()
        found = {int(m[1]): path for path in paths if (m := pattern.fullmatch(path.name))}
        return dict(sorted(found.items()))


@dataclass
class Kept:
    """One checkpoint, as the JSON file lists it."""

    epoch: int
    file: str
    mAP: float | None = None  # in [0, 1]; None where the epoch was not validated
    final: bool = False
    best: bool = False


class Checkpoints:
    """The checkpoints of one training: asks which epochs to save and forgets a beaten best."""

    def __init__(self, naming: Naming, *, interval: int = 1):
        """
        Args:
            naming: what the files are called.
            interval: epochs between checkpoints; 0 means 1, as in the original.
        """
        self.naming = naming
        self.interval = interval or 1
        self._kept: dict[int, Kept] = {}
        self._written: set[int] = set()

    @property
    def index(self) -> Path:
        """The JSON file that lists the checkpoints; trainings may share a folder, so each has
        one of its own."""
        return self.naming.directory / f"{self.naming.stem}.checkpoints.json"

    @property
    def best(self) -> Kept | None:
        """The best validated epoch so far; of equals the first."""
        return next((kept for kept in self._kept.values() if kept.best), None)

    def start(self, epoch: int = 0) -> None:
        """Begin a training, or go on after ``epoch``, remembering what was the best until then.

        Raises:
            TrainingError: later epochs are on disk already, from another run, and would be
                overwritten.
        """
        existing = self.naming.existing()
        if later := [path.name for e, path in existing.items() if e > epoch]:
            newest = existing[max(existing)]
            raise TrainingError(
                f"{self.naming.directory} holds checkpoints of another run that this one would "
                f"overwrite: {', '.join(later)}.\n  Choose another folder with "
                f"-r, or move them away. {how_to_resume(newest)}"
            )
        on_disk = {path.name for path in existing.values()}
        self._kept = {kept.epoch: kept for kept in self._read_index() if kept.file in on_disk}
        for kept in self._kept.values():
            kept.final = False

    def should_save(self, epoch: int, *, final: bool, mAP: float | None = None) -> bool:
        """Whether ``epoch`` (counted from 1) is to be kept: it is due, the last, or the best."""
        return final or self._is_due(epoch) or self._beats_the_best(mAP)

    def path(self, epoch: int) -> Path:
        """Where to write the checkpoint of ``epoch``."""
        return self.naming.path(epoch)

    def saved(self, epoch: int, *, final: bool = False, mAP: float | None = None) -> None:
        """Note that ``path(epoch)`` was written, and remove the best checkpoint it beats unless
        that one is due by the interval or from an earlier run."""
        kept = Kept(epoch, self.path(epoch).name, _number(mAP), final)
        kept.best = self._beats_the_best(mAP)
        beaten = self.best if kept.best else None
        self._kept[epoch] = kept
        self._written.add(epoch)
        if beaten:
            beaten.best = False
            if beaten.epoch in self._written and not self._is_due(beaten.epoch):
                del self._kept[beaten.epoch]
        self._write_index()
        if beaten and beaten.epoch not in self._kept:
            self.path(beaten.epoch).unlink(missing_ok=True)

    def _write_index(self) -> None:
        entries = [asdict(self._kept[epoch]) for epoch in sorted(self._kept)]
        write_whole(self.index, json.dumps({"checkpoints": entries}, indent=2) + "\n")

    def _is_due(self, epoch: int) -> bool:
        return epoch % self.interval == 0

    def _beats_the_best(self, mAP: float | None) -> bool:
        number = _number(mAP)
        if number is None:
            return False
        return self.best is None or self.best.mAP is None or number > self.best.mAP

    def _read_index(self) -> list[Kept]:
        try:
            return [Kept(**entry) for entry in json.loads(self.index.read_text())["checkpoints"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.index} cannot be read ({error}): move it away and start again."
            ) from error


def _number(mAP: float | None) -> float | None:
    """None also for NaN, the mAP of data without a single object; JSON has no NaN."""
    return None if mAP is None or math.isnan(mAP) else float(mAP)
