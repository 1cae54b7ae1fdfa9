"""Whole trainings of a toy detector, stopped and taken up again.

The first step of each training costs seconds, the others nothing: what several tests look at is
trained once.  ``test_mixed_precision.py`` looks at what is learnt.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import toy
from toy import run

from frcnn_core import assemble
from frcnn_core.errors import ModelFileError, SpecError
from frcnn_core.model_files import archive
from frcnn_core.model_files.checkpoints import how_to_resume
from frcnn_core.model_files.keras_files import write_hdf5
from frcnn_core.spec.load import loads
from frcnn_core.training import EarlyStopping, EpochDone, Interrupted, StepDone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Six scenes to train on, the first one empty, and four for validation."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=0, empty=1)
    toy.write_scenes(folder, "val", 4, seed=1)
    return folder


def spec_of(folder, **given):
    return loads(toy.spec_text(folder, **given), "spec.txt")


def training(folder, results, *, max_bad=0, **given):
    return assemble.training(
        spec_of(folder, **given), toy.plugins(), results_dir=results, max_bad=max_bad
    )


def weights(made):
    return made.trainer.model.to_archive().weights


def resume(path):
    return f'resume_from_model: "{path}"'


def statistics(made):
    return made.trainer.model.detector.features.get_layer("conv3_bn").moving_variance.numpy()


def test_frozen_statistics_that_come_with_weights_stay_and_the_others_are_measured(
    scenes, tmp_path
):
    norm = {"gamma": np.ones(16), "beta": np.zeros(16)}
    norm |= {"moving_mean": np.full(16, 5.0), "moving_variance": np.full(16, 7.0)}
    path = tmp_path / "weights.h5"
    write_hdf5(path, {"conv3_bn": norm})
    made = training(
        scenes, tmp_path, model="freeze_bn: True", training=f'pretrained_weights: "{path}"'
    )
    assert (statistics(made) == 7).all()
    head_norm = made.trainer.model.detector.head.get_layer("head_conv_bn")
    assert not np.allclose(head_norm.moving_variance, 1.0)


def test_numbers_are_those_that_were_typed_not_the_nearest_float32():
    settings = assemble.training_settings(
        loads("training_config { rpn_max_overlap: 0.7 } model_config { roi_mini_batch: 64 }", "")
    )
    assert settings.rpn_max_overlap == 0.7
    assert settings.roi_mini_batch == 64


# Trainings that go on -------------------------------------------------------------------------


class Ran(NamedTuple):
    """A training that ran."""

    results: Path
    events: list

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def checkpoints(self):
        return sorted(path.name for path in self.results.glob("*.tlt"))


DROPOUT = "dropout_rate: 0.5"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Six scenes to train on, the first one empty, and another one no image."""
    folder = tmp_path_factory.mktemp("spoilt")
    toy.write_scenes(folder, "train", 6, seed=0, empty=1)
    (folder / "images" / "train_3.png").write_bytes(b"no image")
    return folder


def ran(spoilt, results, start=None, stop_at=None) -> Ran:
    """Four epochs of two steps with all that a training may remember, or some of them.

    Args:
        start: a checkpoint, of which a copy is resumed.
    """
    if start:
        shutil.copy(start, results / start.name)
    more = resume(results / start.name) if start else ""
    made = training(spoilt, results, max_bad=1, model=DROPOUT, training=more)
    return Ran(results, run(made, stop_at))


@pytest.fixture(scope="module")
def uninterrupted(spoilt, tmp_path_factory):
    """Four epochs of two steps."""
    return ran(spoilt, tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="module")
def interrupted(spoilt, tmp_path_factory):
    """Two epochs and one step of a third."""
    found = ran(spoilt, tmp_path_factory.mktemp("interrupted"), stop_at=(3, 1))
    assert isinstance(found.events[-1], Interrupted)
    return found


@pytest.fixture(scope="module")
def resumed(spoilt, interrupted, tmp_path_factory):
    """What was interrupted, from its last step on."""
    start = interrupted.results / "frcnn_toy.epoch_2.step_1.tlt"
    return ran(spoilt, tmp_path_factory.mktemp("resumed"), start)


def same_bytes(name, *trainings):
    one, other = ((training.results / name).read_bytes() for training in trainings)
    return one == other


def test_the_same_seed_gives_the_same_bytes(uninterrupted, interrupted):
    for epoch in (1, 2):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, interrupted)


def test_two_epochs_and_two_more_are_four_epochs_to_the_last_bit(
    spoilt, uninterrupted, interrupted, tmp_path
):
    found = ran(spoilt, tmp_path, interrupted.results / "frcnn_toy.epoch_2.tlt")
    assert [event.epoch for event in found.of(EpochDone)] == [3, 4]
    for epoch in (3, 4):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, found)


def test_a_training_stopped_in_mid_epoch_goes_on_to_the_last_bit(
    uninterrupted, interrupted, resumed
):
    assert interrupted.checkpoints() == [
        "frcnn_toy.epoch_1.tlt",
        "frcnn_toy.epoch_2.step_1.tlt",
        "frcnn_toy.epoch_2.tlt",
    ]
    first = resumed.events[0]
    assert (first.epoch, first.step) == (3, 2)
    for epoch in (3, 4):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, resumed)


def test_a_training_that_skips_a_bad_image_goes_on_to_the_last_bit_too(uninterrupted, resumed):
    assert [event.num_bad_images for event in uninterrupted.of(EpochDone)] == [1, 1, 1, 1]
    assert same_bytes("frcnn_toy.epoch_4.tlt", uninterrupted, resumed)


def test_dropout_goes_on_drawing_where_it_stopped(uninterrupted, resumed):
    def draws(epoch):
        stored = archive.read(uninterrupted.results / f"frcnn_toy.epoch_{epoch}.tlt").weights
        return [v.tolist() for name, v in stored.items() if name.endswith("seed_generator_state")]

    assert draws(2) != draws(4)
    assert same_bytes("frcnn_toy.epoch_4.tlt", uninterrupted, resumed)


def test_what_an_interrupted_training_says_to_type_is_what_resumes(scenes, interrupted, tmp_path):
    start = interrupted.results / "frcnn_toy.epoch_2.step_1.tlt"
    typed = how_to_resume(start).partition("training_config {")[2].rpartition("}")[0]
    made = training(scenes, tmp_path, training=typed)
    assert (made.trainer.progress.epoch, made.trainer.progress.step) == (2, 1)


def test_resuming_with_other_classes_is_refused(scenes, interrupted, tmp_path):
    start = interrupted.results / "frcnn_toy.epoch_2.tlt"
    with pytest.raises(SpecError, match=r"the spec has the classes red, sky.*for blue, red"):
        training(scenes, tmp_path, blue="sky", training=resume(start))


@pytest.mark.parametrize("field", ["resume_from_model", "retrain_pruned_model"])
def test_images_prepared_otherwise_than_before_are_refused(scenes, interrupted, tmp_path, field):
    start = interrupted.results / "frcnn_toy.epoch_2.tlt"
    resize = "augmentation_config { preprocessing { enable_auto_resize: True } }"
    text = toy.spec_text(scenes, training=f'{field}: "{start}"') + resize
    with pytest.raises(SpecError, match=r"(?s)Spec: stretched to 64x64.*Model: cut or padded"):
        assemble.training(loads(text, "spec.txt"), toy.plugins(), results_dir=tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"model": "anchor_box_config { ratio: 2.0 }"},
            r"anchor_box_config: .*ratios=\(1.0, 2.0\)",
        ),
        (
            {"training": 'classifier_regr_std { key: "x" value: 1 }'},
            r"classifier_regr_std: .*\(1.0,",
        ),
    ],
)
def test_boxes_coded_otherwise_than_before_are_refused(
    scenes, interrupted, tmp_path, change, message
):
    start = resume(interrupted.results / "frcnn_toy.epoch_2.tlt")
    others = "".join(f"classifier_regr_std {{ key: '{k}' value: 5 }} " for k in "ywh")
    given = {
        **change,
        "training": f"{start} {others if 'training' in change else ''}{change.get('training', '')}",
    }
    with pytest.raises(SpecError, match=message):
        training(scenes, tmp_path, **given)


def test_resuming_with_another_optimizer_is_refused(scenes, interrupted, tmp_path):
    start = interrupted.results / "frcnn_toy.epoch_2.tlt"
    with pytest.raises(ModelFileError, match="trained with another optimizer"):
        training(scenes, tmp_path, optimizer="sgd { }", training=resume(start))


def test_resuming_from_a_model_without_optimizer_says_what_else_to_do(scenes, tmp_path):
    path = tmp_path / "model.tlt"
    archive.write(path, assemble.new_model(spec_of(scenes), toy.plugins()).to_archive())
    with pytest.raises(ModelFileError, match=r"no optimizer state.*pretrained_weights"):
        training(scenes, tmp_path, training=resume(path))


def test_pretrained_weights_are_a_start_without_progress(scenes, interrupted, tmp_path):
    start = interrupted.results / "frcnn_toy.epoch_2.tlt"
    made = training(scenes, tmp_path, training=f'pretrained_weights: "{start}"')
    stored = archive.read(start).weights
    assert all((array == stored[name]).all() for name, array in weights(made).items())
    assert made.loaded.count("No") == 0
    assert (made.trainer.progress.epoch, made.trainer.progress.step) == (0, 0)


def test_a_pruned_model_is_a_start_that_keeps_its_weights(scenes, tmp_path):
    other = assemble.new_model(spec_of(scenes, seed=7), toy.plugins())
    path = tmp_path / "pruned.tlt"
    archive.write(path, other.to_archive())
    made = training(scenes, tmp_path, training=f'retrain_pruned_model: "{path}"')
    kernels = [m.detector.features.get_layer("conv0").kernel for m in (made.trainer.model, other)]
    np.testing.assert_array_equal(*kernels)
    assert made.trainer.progress.epoch == 0
    assert made.trainer.model.spec == toy.spec_text(
        scenes, training=f'retrain_pruned_model: "{path}"'
    )


def test_checkpoints_carry_the_spec_the_classes_and_how_images_reach_the_network(
    spoilt, uninterrupted
):
    path = uninterrupted.results / "frcnn_toy.epoch_4.tlt"
    model = assemble.open_model(path, "", toy.plugins())
    assert model.spec == toy.spec_text(spoilt, model=DROPOUT)
    assert model.class_names == ("blue", "red")
    assert model.preprocessing == assemble.preprocessing(spec_of(spoilt))
    assert model.progress["epoch"] == 4


def test_a_model_of_a_missing_plugin_says_so(uninterrupted):
    from frcnn_core.plugin.discovery import Plugins

    path = uninterrupted.results / "frcnn_toy.epoch_4.tlt"
    with pytest.raises(SpecError, match="no backbone is called 'toy'"):
        assemble.open_model(path, "", Plugins([]))


# Other trainings ------------------------------------------------------------------------------


def test_output_model_names_the_checkpoints_as_tlt_3_does(scenes, tmp_path):
    text = f'output_model: "{tmp_path}/out/kitti.tlt"'
    made = assemble.training(spec_of(scenes, training=text), toy.plugins())
    assert made.trainer.checkpoints.path(12) == tmp_path / "out" / "kitti.epoch12.tlt"
    assert made.results_dir == tmp_path / "out"


class Validated(NamedTuple):
    """A training that ran."""

    made: assemble.Training
    measured: np.ndarray
    """Statistics before the first step."""
    events: list
    told: list
    """How many more images were done, by validation."""


FROZEN = {"model": "freeze_bn: True", "batch_size": 1, "epochs": 2}


@pytest.fixture(scope="module")
def validated(scenes, tmp_path_factory):
    """Two epochs image by image, the second one validated; pictures are drawn of two images."""
    told = []
    spec = spec_of(
        scenes,
        **FROZEN,
        period=2,
        validation=toy.validated_on(scenes, "val"),
        training="visualizer { enabled: True num_images: 2 }",
    )
    made = assemble.training(
        spec,
        toy.plugins(),
        results_dir=tmp_path_factory.mktemp("validated"),
        on_validation=told.append,
    )
    return Validated(made, statistics(made), run(made), told)


def test_frozen_statistics_without_pretrained_weights_are_measured_and_survive_resuming(
    scenes, validated, tmp_path
):
    measured = validated.measured
    assert not np.allclose(measured, 1.0)
    np.testing.assert_array_equal(statistics(validated.made), measured)
    checkpoint = validated.made.results_dir / "frcnn_toy.epoch_1.tlt"
    resumed = training(scenes, tmp_path, **FROZEN, training=resume(checkpoint))
    np.testing.assert_array_equal(statistics(resumed), measured)


def test_a_batch_of_nothing_but_an_empty_image_is_learnt_from(validated):
    steps = [e for e in validated.events if isinstance(e, StepDone) and e.epoch == 1]
    assert len(steps) == 6
    empty = [step for step in steps if step.losses["rpn_box"] == 0]
    assert len(empty) == 1
    assert empty[0].losses["head_box"] == 0
    assert empty[0].losses["rpn_class"] > 0


def test_a_validation_tells_the_map_of_the_validation_scenes(validated):
    made = validated.made
    assert (made.data.count, made.validation.summary.count) == (6, 4)
    epochs = [event for event in validated.events if isinstance(event, EpochDone)]
    assert epochs[0].validation is None
    assert epochs[1].validation.num_images == 4
    assert 0 <= epochs[1].validation.primary <= 1
    assert sum(validated.told) == 4


def test_the_spec_says_how_often_images_of_a_source_come(scenes, tmp_path):
    second = f'data_sources {{ tfrecords_path: "{scenes}/val" image_directory_path: "{scenes}" '

    def names_of_an_epoch(more):
        trainer = training(scenes, tmp_path, validation=more).trainer
        assert trainer.steps_per_epoch == 3
        return [name.decode() for batch in trainer.batches(0, 0) for name in batch.names.numpy()]

    # Six scenes and four: 6 : 4, 5 : 5 and 6 : 4 * 6.
    for more, share in (
        (second + "}", 4),
        (second + "} sampling_mode: UNIFORM", 5),
        (second + "source_weight: 6 }", 8),
        (second + "source_weight: 6 } sampling_mode: PROPORTIONAL", 4),
    ):
        names = names_of_an_epoch(more)
        assert len(names) == 10
        assert sum("val_" in name for name in names) == share


def test_the_trainer_obeys_the_spec(scenes, tmp_path):
    made = training(
        scenes,
        tmp_path,
        epochs=7,
        batch_size=4,
        rate=0.5,
        seed=9,
        optimizer="sgd { momentum: 0.5 nesterov: True }",
        training="checkpoint_interval: 3 early_stopping { patience: 2 min_delta: 0.1 }",
        period=5,
    )
    trainer = made.trainer
    assert (trainer.num_epochs, trainer.batch_size, trainer.seed) == (7, 4, 9)
    assert trainer.steps_per_epoch == 2  # six scenes
    assert trainer.checkpoints.interval == 3
    assert trainer.early_stopping == EarlyStopping(patience=2, min_delta=0.1)
    assert (trainer.optimizer.momentum, trainer.optimizer.nesterov) == (0.5, True)
    # Warm-up to 0.1 of the training, a tenth of the rate from 0.7 on.
    assert [trainer.learning_rate(p) for p in (0.05, 0.1, 0.71)] == pytest.approx([0.25, 0.5, 0.05])
    assert trainer.settings.rpn_mini_batch == 16
    assert (made.validation, trainer.validate, made.visualizer) == (None, None, None)


def test_the_visualizer_draws_the_first_validation_images(validated):
    pictures = validated.made.visualizer.pictures()
    assert list(pictures) == ["val_0.png", "val_1.png"]
    assert {picture.shape for picture in pictures.values()} == {(64, 64, 3)}
