"""Every rule about the values of a spec, all broken ones at once.

A spec serves several commands; each is only held up by what it reads.  The rules are in
``rules/``, one module for each section.
"""

from __future__ import annotations

from frcnn_core.plugin import Plugins
from frcnn_core.spec.load import Spec
from frcnn_core.spec.problems import Problem, refuse
from frcnn_core.spec.rules.augmentation import check_augmentation
from frcnn_core.spec.rules.conversion import check_conversion
from frcnn_core.spec.rules.dataset import check_dataset, has_validation
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.rules.model import check_model
from frcnn_core.spec.rules.running import (
    EVALUATION,
    INFERENCE,
    check_detection,
    check_evaluation,
    check_images,
    check_model_file,
    check_validation_period,
)
from frcnn_core.spec.rules.training import check_training

TASKS = ("train", "evaluate", "inference", "export", "prune", "weights")


def check(spec: Spec, plugins: Plugins, task: str | None = None) -> list[Problem]:
    """What keeps an experiment spec from serving a task, and what in it has no effect.

    Args:
        spec: as read; a command first puts its own flags, such as ``-m``, into ``spec.message``.
        plugins: what ``arch``, optimizer, schedule and metrics may name.
        task: one of ``TASKS``.  None checks every section, but not whether files are there.

    Returns:
        The problems in the order of the file.
    """
    findings = Findings(spec)
    if task in ("train", "weights", None):
        check_model(findings, plugins)
    if task in ("train", None):
        check_augmentation(findings)
        check_training(findings, plugins, with_files=task is not None)
    if task in ("train", "evaluate", None):
        check_dataset(findings, plugins, training=task != "evaluate", with_files=task is not None)
    validates = task == "train" and has_validation(spec.message.dataset_config)
    if validates or task in ("evaluate", None):
        check_evaluation(findings, plugins)
    if validates or task is None:
        check_validation_period(findings)
    if task == "evaluate":
        check_model_file(findings, EVALUATION, "trt_evaluation")
    if task in ("inference", "export", None):
        check_detection(findings)
    if task == "inference":
        check_images(findings)
        check_model_file(findings, INFERENCE, "trt_inference")
    return _in_order(spec, findings.problems)


def check_dataset_spec(spec: Spec, plugins: Plugins, *, with_files: bool = True) -> list[Problem]:
    """What keeps a dataset spec from being converted, and what in it has no effect.

    Args:
        plugins: what the format of labels may name.
    """
    findings = Findings(spec)
    check_conversion(findings, plugins, with_files=with_files)
    return _in_order(spec, findings.problems)


def require(spec: Spec, plugins: Plugins, task: str) -> list[Problem]:
    """The warnings about a spec that can serve ``task``.

    Raises:
        SpecError: it cannot; the message lists every error.
    """
    return refuse(check(spec, plugins, task))


def require_dataset_spec(spec: Spec, plugins: Plugins) -> list[Problem]:
    """The warnings about a dataset spec that can be converted; raises as ``require`` does."""
    return refuse(check_dataset_spec(spec, plugins))


def _in_order(spec: Spec, problems: list[Problem]) -> list[Problem]:
    """What reading noticed and what checking found, by place; what is missing comes last."""

    def place(problem: Problem) -> tuple[float, ...]:
        numbers = problem.where.removeprefix(spec.path).split(":")[1:]
        return tuple(map(int, numbers)) or (float("inf"),)

    return sorted([*spec.warnings, *problems], key=place)
