"""Whole trainings on images of different sizes, in batches of several.

Most look at one training, as typed: the first step of each costs seconds, and so does each epoch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import toy
from click.testing import CliRunner, Result
from tensorflow.python.framework import config  # what is public does not switch it off again
from toy import run

from frcnn_core import assemble
from frcnn_core.cli import main
from frcnn_core.data import kitti, records
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.errors import SpecError
from frcnn_core.evaluation.report import evaluate
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.spec.check import check
from frcnn_core.spec.load import loads
from frcnn_core.training import EpochDone

SHAPES = ((48, 80), (72, 40), (64, 64), (40, 90))
"""Sizes of the images; with a short side of 64, networks see 64 x 106 to 112 x 62."""


def write_scenes(folder, name, count, *, seed):
    """As ``toy.write_scenes``, but each image has a shape of its own."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for number in range(count):
            height, width = SHAPES[number % len(SHAPES)]
            pixels = random.integers(0, 80, (height, width, 3), np.uint8)
            side = int(random.integers(14, 30))
            y, x = int(random.integers(height - side)), int(random.integers(width - side))
            label = toy.CLASSES[int(random.integers(2))]
            colour = (30, 30, 230) if label == "blue" else (230, 30, 30)
            pixels[y : y + side, x : x + side] = colour
            path = folder / "images" / f"{name}_{number}.png"
            path.write_bytes(tf.io.encode_png(pixels).numpy())
            objects = (kitti.Object(label, x1=x, y1=y, x2=x + side, y2=y + side),)
            record = records.Record(f"images/{path.stem}", height, width, objects)
            writer.write(records.to_example(record))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Seven images to train on and six for validation, none of whose shapes fill a batch."""
    folder = tmp_path_factory.mktemp("shapes")
    write_scenes(folder, "train", 7, seed=0)
    write_scenes(folder, "val", 6, seed=1)
    return folder


def text_of(folder, **given):
    """A spec of ``toy`` with a dynamic shape in place of its fixed one."""
    given = {"batch_size": 3, "validation": toy.validated_on(folder, "val")} | given
    text = toy.spec_text(folder, **given)
    for fixed, dynamic in (
        ("size_height_width { height: 64 width: 64 }", "size_min { min: 64 }"),
        ("output_image_width: 64 output_image_height: 64", "output_image_max: 112"),
    ):
        assert fixed in text
        text = text.replace(fixed, dynamic)
    return text


def training(folder, results, **given):
    spec = loads(text_of(folder, **given), "spec.txt")
    return assemble.training(spec, toy.plugins(), results_dir=results)


@pytest.fixture
def toy_is_installed(monkeypatch):
    monkeypatch.setattr("frcnn_core.plugin.installed", toy.plugins)


@pytest.fixture
def in_order():
    """As ``frcnn train`` does it on a CPU: sums are always added up in the same order."""
    config.enable_op_determinism()
    yield
    config.disable_op_determinism()


EPOCHS, SCENES = 6, 300


@dataclass(frozen=True)
class Learnt:
    """What ``frcnn train`` made of many scenes."""

    folder: Path
    """Of the scenes to train on."""
    unseen: Path
    """Of thirteen others."""
    answer: Result

    def text_of(self, **given):
        given = {"epochs": EPOCHS, "period": EPOCHS} | given
        return text_of(self.folder, **given)

    @property
    def spec(self):
        return loads(self.text_of(), "spec.txt")

    def checkpoint(self, epoch):
        return self.folder / "results" / f"frcnn_toy.epoch_{epoch}.tlt"


@pytest.fixture(scope="module")
def learnt(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt")
    write_scenes(folder, "train", SCENES, seed=2)
    write_scenes(folder, "val", 20, seed=3)
    found = Learnt(folder, scenes, None)
    spec = folder / "spec.txt"
    spec.write_text(found.spec.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frcnn_core.plugin.installed", toy.plugins)
        command = ["train", "-e", str(spec), "-r", str(folder / "results")]
        answer = CliRunner().invoke(main, command)
    config.disable_op_determinism()
    return replace(found, answer=answer)


def test_the_spec_is_a_good_one(scenes):
    found = check(loads(text_of(scenes), "spec.txt"), toy.plugins(), "train")
    assert found == []


def test_the_preprocessing_is_what_the_spec_says():
    text = """
    model_config { input_image_config { size_min { min: 600 } } }
    augmentation_config { preprocessing { output_image_min: 600 output_image_max: %s } }
    """
    found = assemble.preprocessing(loads(text % 900, "spec.txt"))
    assert found.is_dynamic
    assert (found.min_side, found.max_side) == (600, 900)
    assert assemble.preprocessing(loads(text % 0, "spec.txt")).max_side == 1000


def test_of_a_fixed_shape_nothing_is_dynamic():
    text = "model_config { input_image_config { size_height_width { height: 32 width: 48 } } }"
    assert assemble.preprocessing(loads(text, "spec.txt")) == Preprocessing(
        32, 48, resize=False, channel_order="bgr", means=(123.68, 116.779, 103.939)
    )


@pytest.mark.slow
def test_batches_hold_images_of_several_sizes(scenes, tmp_path):
    made = training(scenes, tmp_path)
    batches = list(made.trainer.batches(0, 0))
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    sizes = {tuple(size) for batch in batches for size in batch.sizes.numpy().astype(int)}
    assert sizes == {(64, 106), (112, 62), (64, 64), (49, 112)}
    for batch in batches:
        assert not np.any(np.array(batch.images.shape[1:3]) % 16)
        limits = np.tile(batch.sizes, [1, 2])[:, None]
        assert (batch.boxes.numpy() <= limits).all()


@pytest.mark.slow
def test_a_checkpoint_keeps_the_shape_dynamic(learnt):
    content = archive.read(learnt.checkpoint(1))
    model = Model.from_archive(content)
    assert model.detector.dynamic_shape
    assert model.preprocessing == assemble.preprocessing(learnt.spec)
    assert (model.preprocessing.min_side, model.preprocessing.max_side) == (64, 112)


@pytest.mark.slow
def test_the_size_of_evaluation_batches_changes_no_result(scenes, learnt):
    spec = loads(text_of(scenes), "spec.txt")
    data = assemble.evaluation_set(spec, toy.plugins())
    model = Model.from_archive(archive.read(learnt.checkpoint(EPOCHS)))
    settings = assemble.detection_settings(spec.message.evaluation_config)
    reports, seen = [], []
    for batch_size in (1, 2, 6):
        detect = assemble.detect_function(model, settings)

        def noted(images, sizes, detect=detect):
            found = detect(images, sizes)
            seen[-1] += [*np.concatenate([found.boxes, found.scores[..., None]], -1)]
            return found

        seen.append([])
        batches = data.batches(model.preprocessing, batch_size)
        metrics = assemble.accumulators(spec, toy.plugins(), model.class_names)
        reports.append(evaluate(noted, batches, metrics))
    for boxes in seen[1:]:
        np.testing.assert_allclose(boxes, seen[0], atol=1e-3)
    first, *others = (report.as_dict()["metrics"] for report in reports)
    assert all(other == first for other in others)


@pytest.mark.slow
def test_interrupted_and_resumed_it_ends_in_the_same_weights(learnt, tmp_path, in_order):
    def go_on(**given):
        spec = loads(learnt.text_of(**given), "spec.txt")
        return assemble.training(spec, toy.plugins(), results_dir=tmp_path)

    interrupted = run(go_on(), stop_at=(1, 2))
    resume = f'resume_from_model: "{interrupted[-1].checkpoint}"'
    events = go_on(training=resume).trainer.run()
    done = next(event for event in events if isinstance(event, EpochDone))
    expected = archive.read(learnt.checkpoint(1)).weights
    found = archive.read(done.checkpoint).weights
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.slow
def test_it_learns(learnt):
    last = archive.read(learnt.checkpoint(EPOCHS)).manifest["history"][-1]
    assert last["epoch"] == EPOCHS
    assert last["mAP"] > 0.6


@pytest.mark.slow
def test_train_evaluate_and_inference_take_such_a_spec(learnt, tmp_path, toy_is_installed):
    assert learnt.answer.exit_code == 0, learnt.answer.output
    spec, model = tmp_path / "spec.txt", learnt.checkpoint(EPOCHS)
    spec.write_text(
        learnt.spec.text
        + f'inference_config {{ images_dir: "{learnt.unseen}/images" batch_size: 4 '
        f'model: "{model}" '
        f'detection_image_output_dir: "{tmp_path}/pictures" labels_dump_dir: "{tmp_path}/labels" }}'
        f'evaluation_config {{ model: "{model}" }}'
    )
    for command in (["evaluate", "-e", str(spec)], ["inference", "-e", str(spec)]):
        answer = CliRunner().invoke(main, command)
        assert answer.exit_code == 0, answer.output
    assert len(list((tmp_path / "pictures").iterdir())) == 13


# Layers that nobody knows ---------------------------------------------------------------------


def spoilt(model):
    """The model with a layer of a kind of its own at its beginning."""
    import keras

    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    images = keras.Input((None, None, 3))
    detector = model.detector
    features = keras.Model(images, detector.features(Own(name="own")(images)))
    parts = detector.parts | {"features": features}
    model.detector = type(detector)(**parts, anchors=detector.anchors, dynamic_shape=True)
    return model


@pytest.fixture
def spoils(monkeypatch):
    """Every new model is spoilt."""
    from frcnn_core.assemble import start

    drawn = start.new_model
    monkeypatch.setattr(start, "new_model", lambda *args: spoilt(drawn(*args)))


@pytest.mark.slow
def test_training_in_batches_is_refused_with_the_layer_and_what_to_type(scenes, tmp_path, spoils):
    with pytest.raises(SpecError) as error:
        training(scenes, tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("training_config.batch_size_per_gpu: ")
    assert "own (Own)" in lines[0]
    assert "Type 1" in lines[1]
    assert lines[2].startswith("evaluation_config.batch_size: ")


@pytest.mark.slow
def test_training_image_by_image_is_not(scenes, tmp_path, spoils):
    single = text_of(scenes, epochs=1, batch_size=1).replace("batch_size: 8", "batch_size: 1")
    made = assemble.training(loads(single, "spec.txt"), toy.plugins(), results_dir=tmp_path)
    (done,) = (event for event in run(made) if isinstance(event, EpochDone))
    assert done.validation.num_images == 6


@pytest.mark.slow
def test_detecting_in_several_images_at_once_is_refused_too(scenes):
    spec = loads(text_of(scenes), "spec.txt")
    model = spoilt(assemble.new_model(spec, toy.plugins()))
    settings = assemble.detection_settings(spec.message.evaluation_config)
    detect = assemble.detect_function(model, settings)
    assert detect(np.zeros((1, 64, 64, 3), "float32"), np.float32([[64, 64]])) is not None
    with pytest.raises(SpecError, match=r"^batch_size: .*own \(Own\)"):
        detect(np.zeros((2, 64, 64, 3), "float32"), np.full((2, 2), 64, "float32"))
