"""Rules of ``training_config``."""

from __future__ import annotations

from typing import Any

from frcnn_core.plugin import Plugins, Registry
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.rules.proposals import check_proposals
from frcnn_core.spec.training_pb2 import (
    LRConfig,
    OptimizerConfig,
    PluginConfig,
    RegularizerConfig,
    SoftStartAnnealingConfig,
    TrainingConfig,
)

PATH = "training_config"

_RANGES = {
    "batch_size_per_gpu": "[1, inf)",
    "num_epochs": "[1, inf)",
    "rpn_min_overlap": "(0, 1]",
    "rpn_max_overlap": "(0, 1]",
    "classifier_min_overlap": "[0, 1]",
    "classifier_max_overlap": "(0, 1]",
    "classifier_regr_std": "(0, inf)",
    "rpn_mini_batch": "[1, inf)",
    "lambda_rpn_regr": "[0, inf)",
    "lambda_rpn_class": "[0, inf)",
    "lambda_cls_regr": "[0, inf)",
    "lambda_cls_class": "[0, inf)",
    "model_parallelism": "(0, inf)",
}
_OPTIMIZER_RANGES = {
    "adam": {"beta_1": "[0, 1)", "beta_2": "[0, 1)", "epsilon": "(0, inf)"},
    "sgd": {"momentum": "[0, 1)"},
    "rmsprop": {},
}
_SCHEDULE_RANGES = {
    "soft_start": {
        "base_lr": "(0, inf)",
        "start_lr": "[0, inf)",
        "soft_start": "[0, 1)",
        "annealing_points": "(0, 1]",
        "annealing_divider": "(0, inf)",
    },
    "step": {"base_lr": "(0, inf)", "gamma": "[0, 1]", "step_size": "(0, 100]"},
}


def check_training(findings: Findings, plugins: Plugins, *, with_files: bool) -> None:
    """The network can be trained."""
    training: TrainingConfig = findings.spec.message.training_config
    findings.ranges(PATH, training, _RANGES)
    findings.keys(f"{PATH}.classifier_regr_std", training.classifier_regr_std, "xywh")
    _check_order(findings, training, "rpn_min_overlap", "rpn_max_overlap")
    _check_order(findings, training, "classifier_min_overlap", "classifier_max_overlap")
    check_proposals(findings, PATH, training)
    _check_in_vain(findings, training)
    _check_start(findings, training, with_files=with_files)
    _check_optimizer(findings, training, plugins)
    _check_schedule(findings, training.learning_rate, plugins)
    if training.HasField("early_stopping"):
        _check_early_stopping(findings, training)


def _check_order(findings: Findings, training: TrainingConfig, low: str, high: str) -> None:
    if getattr(training, low) >= getattr(training, high):
        values = f"{getattr(training, low):g} is not below {high} ({getattr(training, high):g})"
        findings.error(f"{PATH}.{low}", f"{values}. Type a smaller number.")


def _check_in_vain(findings: Findings, training: TrainingConfig) -> None:
    if training.std_scaling != 1:
        findings.warning(f"{PATH}.std_scaling", "has no effect other than at 1.")
    if training.checkpoint_interval > training.num_epochs > 0:
        findings.warning(
            f"{PATH}.checkpoint_interval",
            f"is more than num_epochs ({training.num_epochs}): "
            "only the final and the best epoch are kept.",
        )
    if not training.enable_qat:
        findings.without_effect(
            f"{PATH}.qat_config", {"per_channel_weights": "enable_qat is False"}
        )
    regularizer = training.regularizer
    if regularizer.type == RegularizerConfig.NO_REG:
        if regularizer.weight and findings.spec.wrote(f"{PATH}.regularizer.weight"):
            findings.warning(f"{PATH}.regularizer.weight", "has no effect with type: NO_REG.")
    else:
        findings.ranges(f"{PATH}.regularizer", regularizer, {"weight": "[0, 1)"})
    findings.without_effect(
        f"{PATH}.visualizer",
        {
            "wandb_config": "Weights & Biases is not supported, TensorBoard is",
            "clearml_config": "ClearML is not supported, TensorBoard is",
        },
    )


def _check_start(findings: Findings, training: TrainingConfig, *, with_files: bool) -> None:
    """The weights to start from: the first of three that is set."""
    first = ""
    for name in ("resume_from_model", "retrain_pruned_model", "pretrained_weights"):
        path = getattr(training, name)
        if path and first:
            findings.warning(f"{PATH}.{name}", f"has no effect: {first} comes first.")
        elif path:
            first = name
            if with_files:
                findings.file(f"{PATH}.{name}", path)
    model = findings.spec.message.model_config
    if model.freeze_blocks and not first:
        findings.warning(
            "model_config.freeze_blocks",
            f"freezes random values, since {PATH}.pretrained_weights is not set.",
        )


def _check_optimizer(findings: Findings, training: TrainingConfig, plugins: Plugins) -> None:
    optimizer: OptimizerConfig = training.optimizer
    member = optimizer.WhichOneof("optim")
    path = f"{PATH}.optimizer.{member}"
    if member == "plugin":
        _check_plugin(findings, path, optimizer.plugin, plugins.optimizers)
        return
    chosen = getattr(optimizer, member)
    findings.component(path, member, plugins.optimizers)
    findings.ranges(path, chosen, _OPTIMIZER_RANGES[member])
    schedule = training.learning_rate
    rate = getattr(getattr(schedule, schedule.WhichOneof("lr_config")), "base_lr", None)
    if findings.spec.wrote(f"{path}.lr") and chosen.lr != rate:
        findings.warning(f"{path}.lr", "has no effect: learning_rate sets the rate of every step.")
    if getattr(chosen, "decay", 0):
        findings.warning(
            f"{path}.decay", "has no effect: learning_rate sets the rate of every step."
        )


def _check_schedule(findings: Findings, schedule: LRConfig, plugins: Plugins) -> None:
    member = schedule.WhichOneof("lr_config")
    path = f"{PATH}.learning_rate.{member}"
    if member == "plugin":
        _check_plugin(findings, path, schedule.plugin, plugins.lr_schedules)
        return
    findings.component(path, member, plugins.lr_schedules)
    findings.ranges(path, getattr(schedule, member), _SCHEDULE_RANGES[member])
    if member == "soft_start":
        _check_soft_start(findings, path, schedule.soft_start)


def _check_soft_start(findings: Findings, path: str, rates: SoftStartAnnealingConfig) -> None:
    if rates.start_lr > rates.base_lr:
        findings.error(
            f"{path}.start_lr",
            f"{rates.start_lr:g} is above base_lr ({rates.base_lr:g}). Type a smaller number.",
        )
    previous, name = rates.soft_start, "soft_start"
    for index, point in enumerate(rates.annealing_points):
        if point <= previous:
            findings.error(
                f"{path}.annealing_points[{index}]",
                f"{point:g} does not come after {name} ({previous:g}).",
            )
        previous, name = point, "the point before"


def _check_plugin(
    findings: Findings, path: str, plugin: PluginConfig, registry: Registry[Any]
) -> None:
    if not plugin.name:
        names = ", ".join(sorted({entry.component.name for entry in registry}))
        findings.error(path, f"has no name. Add name: with one of {names}.")
        return
    component = findings.component(f"{path}.name", plugin.name, registry)
    if component is not None:
        findings.options(f"{path}.options", component, plugin.options)


def _check_early_stopping(findings: Findings, training: TrainingConfig) -> None:
    path, stopping = f"{PATH}.early_stopping", training.early_stopping
    if stopping.monitor not in ("", "loss"):
        findings.error(f"{path}.monitor", f"{stopping.monitor!r} is not supported. Type 'loss'.")
    findings.range(f"{path}.min_delta", stopping.min_delta, "[0, inf)")
    findings.range(f"{path}.patience", stopping.patience, "[1, inf)")
