"""Which number format is chosen; and trainings in float16, whose loss is scaled."""

import logging

import keras
import pytest
import toy

from frcnn_core import assemble
from frcnn_core.detector import precision
from frcnn_core.model_files import archive
from frcnn_core.spec.load import loads


@pytest.fixture
def cpu_flags(tmp_path, monkeypatch):
    def write(flags: str) -> None:
        file = tmp_path / "cpuinfo"
        file.write_text(f"flags : {flags}\n")
        monkeypatch.setattr(precision, "CPU_FLAGS", file)

    return write


def test_without_amp_everything_is_float32():
    assert precision.policy(use_amp=False) == "float32"


def test_amp_on_a_cpu_with_bfloat16_says_nothing(cpu_flags, caplog):
    cpu_flags("fpu avx512f avx512_bf16")
    with caplog.at_level(logging.WARNING):
        assert precision.policy(use_amp=True) == "mixed_bfloat16"
    assert not caplog.records


def test_amp_on_a_cpu_without_bfloat16_warns_that_it_is_slower(cpu_flags, caplog):
    cpu_flags("fpu avx2 fma")
    assert precision.policy(use_amp=True) == "mixed_bfloat16"
    assert "slower" in caplog.text


# Loss scaling ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=1)
    return folder


@pytest.fixture
def train(scenes, tmp_path, monkeypatch):
    """Makes a trainer in float16, as there would be on a GPU; three steps an epoch."""
    monkeypatch.setattr(precision, "policy", lambda *, use_amp: "mixed_float16")

    def make(name: str, **spec):
        text = toy.spec_text(scenes, batch_size=2, **spec)
        return assemble.training(loads(text), toy.plugins(), results_dir=tmp_path / name).trainer

    return make


def state(trainer) -> dict:
    """The loss scale and what belongs to it, and all that a gradient moves."""
    optimizer = trainer.optimizer
    return {
        "scale": float(optimizer.dynamic_scale.numpy()),
        "steps since": int(optimizer.step_counter.numpy()),
        "iterations": int(optimizer.iterations.numpy()),
        "trained": [v.numpy().tobytes() for v in trainer.model.detector.trainable_variables],
        "kept": [v.numpy().tobytes() for v in optimizer.inner_optimizer.variables[2:]],
    }


@pytest.mark.slow
def test_a_step_whose_gradient_overflows_is_skipped_and_halves_the_scale(train):
    trainer = train("results")
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    trainer.optimizer.dynamic_scale.assign(2.0**60)
    before = state(trainer)
    run = trainer.run()
    assert next(run).losses["rpn_class"] < 10  # what is shown is not scaled
    assert state(trainer) == before | {"scale": 2.0**59}
    trainer.optimizer.dynamic_scale.assign(2.0**10)
    next(run)
    after = state(trainer)
    assert after["scale"] == 2.0**10
    assert after["steps since"] == after["iterations"] == 1
    assert all(new != old for new, old in zip(after["trained"], before["trained"], strict=True))


@pytest.mark.slow
def test_the_scale_is_in_the_checkpoint_and_survives_a_resume(train):
    trainer = train("before")
    trainer.optimizer.dynamic_scale.assign(2.0**10)
    run = trainer.run()
    next(run)
    trainer.optimizer.dynamic_scale.assign(2.0**9)
    trainer.stop()
    checkpoint = list(run)[-1].checkpoint
    stored = archive.read(checkpoint, "").optimizer
    assert [float(v) for name, v in stored.items() if name.endswith("dynamic_scale")] == [2.0**9]
    resumed = train("after", training=f'resume_from_model: "{checkpoint}"')
    assert state(resumed) == state(trainer)
    assert state(resumed)["steps since"] == 1


@pytest.mark.slow
def test_variables_are_float32_those_of_the_optimizer_too(train):
    trainer = train("results")
    parts = trainer.model.detector.parts.values()
    layers = [layer for part in parts for layer in part.layers if layer.variables]
    assert {layer.compute_dtype for layer in layers} == {"float16"}
    variables = [variable for layer in layers for variable in layer.variables]
    slots = [v for v in trainer.optimizer.variables if v.shape.rank]
    assert len(slots) == 2 * len(trainer.model.detector.trainable_variables)
    assert {v.dtype for v in [*variables, *slots]} == {"float32"}
