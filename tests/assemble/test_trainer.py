"""Whole trainings of a toy detector, stopped and taken up again."""

import json
import shutil

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


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Six scenes to train on, the first one empty, and four for validation."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=0, empty=1)
    toy.write_scenes(folder, "val", 4, seed=1)
    return folder


def spec_of(folder, **given):
    return loads(toy.spec_text(folder, **given), "spec.txt")


def training(folder, results, *, use_amp=False, key="", **given):
    return assemble.training(
        spec_of(folder, **given), toy.plugins(), results_dir=results, use_amp=use_amp, key=key
    )


def weights(made):
    return made.trainer.model.to_archive().weights


def resume(path):
    return f'resume_from_model: "{path}"'


def statistics(made):
    return made.trainer.model.detector.features.get_layer("conv3_bn").moving_variance.numpy()


def test_frozen_statistics_without_pretrained_weights_are_measured_and_survive_resuming(
    scenes, tmp_path
):
    made = training(scenes, tmp_path, model="freeze_bn: True", epochs=2)
    measured = statistics(made)
    assert not np.allclose(measured, 1.0)
    run(made, stop_at=(2, 1))
    np.testing.assert_array_equal(statistics(made), measured)
    checkpoint = tmp_path / "frcnn_toy.epoch_1.tlt"
    resumed = training(
        scenes, tmp_path, model="freeze_bn: True", epochs=2, training=resume(checkpoint)
    )
    np.testing.assert_array_equal(statistics(resumed), measured)


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


@pytest.fixture(scope="module")
def uninterrupted(scenes, tmp_path_factory):
    """The results of four epochs of two steps."""
    results = tmp_path_factory.mktemp("uninterrupted")
    run(training(scenes, results))
    return results


@pytest.fixture(scope="module")
def interrupted(scenes, tmp_path_factory):
    """The results of two epochs and one step of a third."""
    results = tmp_path_factory.mktemp("interrupted")
    events = run(training(scenes, results), stop_at=(3, 1))
    assert isinstance(events[-1], Interrupted)
    return results


def names_in(results):
    return sorted(path.name for path in results.glob("*.tlt"))


def same_bytes(name, *folders):
    one, other = ((folder / name).read_bytes() for folder in folders)
    return one == other


def test_the_same_seed_gives_the_same_bytes(uninterrupted, interrupted):
    for epoch in (1, 2):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, interrupted)


def test_two_epochs_and_two_more_are_four_epochs_to_the_last_bit(
    scenes, uninterrupted, interrupted, tmp_path
):
    start = tmp_path / "frcnn_toy.epoch_2.tlt"
    shutil.copy(interrupted / start.name, start)
    events = run(training(scenes, tmp_path, training=resume(start)))
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [3, 4]
    for epoch in (3, 4):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, tmp_path)


def test_a_training_stopped_in_mid_epoch_goes_on_to_the_last_bit(
    scenes, uninterrupted, interrupted, tmp_path
):
    assert names_in(interrupted) == [
        "frcnn_toy.epoch_1.tlt",
        "frcnn_toy.epoch_2.step_1.tlt",
        "frcnn_toy.epoch_2.tlt",
    ]
    start = tmp_path / "frcnn_toy.epoch_2.step_1.tlt"
    shutil.copy(interrupted / start.name, start)
    first = run(training(scenes, tmp_path, training=resume(start)))[0]
    assert (first.epoch, first.step) == (3, 2)
    for epoch in (3, 4):
        assert same_bytes(f"frcnn_toy.epoch_{epoch}.tlt", uninterrupted, tmp_path)


def test_a_training_that_skips_a_bad_image_goes_on_to_the_last_bit_too(tmp_path):
    folder = tmp_path / "scenes"
    toy.write_scenes(folder, "train", 6, seed=0)
    (folder / "images" / "train_3.png").write_bytes(b"no image")
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def made(results, **given):
        return assemble.training(
            spec_of(folder, epochs=2, **given), toy.plugins(), results_dir=results, max_bad=1
        )

    events = run(made(whole))
    done = [event for event in events if isinstance(event, EpochDone)]
    assert [event.num_bad_images for event in done] == [1, 1]
    *_, interrupted = run(made(parts), stop_at=(2, 1))
    run(made(parts, training=resume(interrupted.checkpoint)))
    assert same_bytes("frcnn_toy.epoch_2.tlt", whole, parts)


def test_dropout_goes_on_drawing_where_it_stopped(scenes, tmp_path):
    dropout = {"model": "dropout_rate: 0.5", "epochs": 2}
    run(training(scenes, tmp_path / "whole", **dropout))
    run(training(scenes, tmp_path / "part", **dropout), stop_at=(2, 1))
    start = tmp_path / "part/frcnn_toy.epoch_1.step_1.tlt"
    run(training(scenes, tmp_path / "part", training=resume(start), **dropout))
    assert same_bytes("frcnn_toy.epoch_2.tlt", tmp_path / "whole", tmp_path / "part")


def test_what_an_interrupted_training_says_to_type_is_what_resumes(scenes, interrupted, tmp_path):
    start = interrupted / "frcnn_toy.epoch_2.step_1.tlt"
    typed = how_to_resume(start).partition("training_config {")[2].rpartition("}")[0]
    made = training(scenes, tmp_path, training=typed)
    assert (made.trainer.progress.epoch, made.trainer.progress.step) == (2, 1)


def test_resuming_with_other_classes_is_refused(scenes, interrupted, tmp_path):
    start = interrupted / "frcnn_toy.epoch_2.tlt"
    with pytest.raises(SpecError, match=r"the spec has the classes red, sky.*for blue, red"):
        training(scenes, tmp_path, blue="sky", training=resume(start))


@pytest.mark.parametrize("field", ["resume_from_model", "retrain_pruned_model"])
def test_images_prepared_otherwise_than_before_are_refused(scenes, interrupted, tmp_path, field):
    start = interrupted / "frcnn_toy.epoch_2.tlt"
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
    start = resume(interrupted / "frcnn_toy.epoch_2.tlt")
    others = "".join(f"classifier_regr_std {{ key: '{k}' value: 5 }} " for k in "ywh")
    given = {
        **change,
        "training": f"{start} {others if 'training' in change else ''}{change.get('training', '')}",
    }
    with pytest.raises(SpecError, match=message):
        training(scenes, tmp_path, **given)


def test_resuming_with_another_optimizer_is_refused(scenes, interrupted, tmp_path):
    start = interrupted / "frcnn_toy.epoch_2.tlt"
    with pytest.raises(ModelFileError, match="trained with another optimizer"):
        training(scenes, tmp_path, optimizer="sgd { }", training=resume(start))


def test_resuming_from_a_model_without_optimizer_says_what_else_to_do(scenes, tmp_path):
    path = tmp_path / "model.tlt"
    archive.write(path, assemble.new_model(spec_of(scenes), toy.plugins()).to_archive())
    with pytest.raises(ModelFileError, match=r"no optimizer state.*pretrained_weights"):
        training(scenes, tmp_path, training=resume(path))


def test_pretrained_weights_are_a_start_without_progress(scenes, interrupted, tmp_path):
    start = interrupted / "frcnn_toy.epoch_2.tlt"
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
    scenes, uninterrupted
):
    path = uninterrupted / "frcnn_toy.epoch_4.tlt"
    model = assemble.open_model(path, "", toy.plugins())
    assert model.spec == toy.spec_text(scenes)
    assert model.class_names == ("blue", "red")
    assert model.preprocessing == assemble.preprocessing(spec_of(scenes))
    assert model.progress["epoch"] == 4


def test_a_model_of_a_missing_plugin_says_so(uninterrupted):
    from frcnn_core.plugin.discovery import Plugins

    path = uninterrupted / "frcnn_toy.epoch_4.tlt"
    with pytest.raises(SpecError, match="no backbone is called 'toy'"):
        assemble.open_model(path, "", Plugins([]))


# Other trainings ------------------------------------------------------------------------------


def test_output_model_names_the_checkpoints_as_tlt_3_does(scenes, tmp_path):
    text = f'output_model: "{tmp_path}/out/kitti.tlt"'
    made = assemble.training(spec_of(scenes, training=text), toy.plugins())
    assert made.trainer.checkpoints.path(12) == tmp_path / "out" / "kitti.epoch12.tlt"
    assert made.results_dir == tmp_path / "out"


def test_a_batch_of_nothing_but_an_empty_image_is_learnt_from(scenes, tmp_path):
    made = training(scenes, tmp_path, batch_size=1, epochs=1)
    steps = [event for event in run(made) if isinstance(event, StepDone)]
    assert len(steps) == 6
    empty = [step for step in steps if step.losses["rpn_box"] == 0]
    assert len(empty) == 1
    assert empty[0].losses["head_box"] == 0
    assert empty[0].losses["rpn_class"] > 0


@pytest.mark.slow
def test_mixed_precision_on_a_cpu_trains_in_bfloat16_and_saves_in_float32(scenes, tmp_path):
    made = training(scenes, tmp_path, use_amp=True, epochs=2)
    assert made.precision == "mixed_bfloat16"
    events = run(made)
    assert all(
        np.isfinite(list(e.losses.values())).all() for e in events if isinstance(e, StepDone)
    )
    stored = archive.read(tmp_path / "frcnn_toy.epoch_2.tlt")
    assert "bfloat16" not in json.dumps(stored.parts)
    assert {str(array.dtype) for array in stored.weights.values()} == {"float32"}


def test_a_validation_tells_the_map_of_the_validation_scenes(scenes, tmp_path):
    told = []
    made = assemble.training(
        spec_of(scenes, epochs=2, period=2, validation=toy.validated_on(scenes, "val")),
        toy.plugins(),
        results_dir=tmp_path,
        on_validation=told.append,
    )
    assert (made.data.count, made.validation.summary.count) == (6, 4)
    epochs = [event for event in run(made) if isinstance(event, EpochDone)]
    assert epochs[0].validation is None
    assert epochs[1].validation.num_images == 4
    assert 0 <= epochs[1].validation.primary <= 1
    assert sum(told) == 4


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


def test_the_visualizer_draws_the_first_validation_images(scenes, tmp_path):
    made = training(
        scenes,
        tmp_path,
        validation=toy.validated_on(scenes, "val"),
        training="visualizer { enabled: True num_images: 2 }",
    )
    pictures = made.visualizer.pictures()
    assert list(pictures) == ["val_0.png", "val_1.png"]
    assert {picture.shape for picture in pictures.values()} == {(64, 64, 3)}


@pytest.mark.slow
def test_it_learns_to_find_red_and_blue_squares(tmp_path):
    toy.write_scenes(tmp_path, "train", 64, seed=0)
    toy.write_scenes(tmp_path, "val", 16, seed=1)
    made = training(
        tmp_path,
        tmp_path / "results",
        epochs=16,
        rate=0.005,
        period=8,
        validation=toy.validated_on(tmp_path, "val"),
    )
    epochs = [event for event in run(made) if isinstance(event, EpochDone)]
    losses = [sum(epoch.losses.values()) for epoch in epochs]
    assert losses[-1] < 0.5 * losses[0]
    mAP = [epoch.validation.primary for epoch in epochs if epoch.validation]
    assert mAP[-1] > 0.5
