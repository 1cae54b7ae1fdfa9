"""What training starts from."""

import logging

import numpy as np
import pytest
import toy

from frcnn_core import assemble, weights
from frcnn_core.assemble.start import start
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.pruning import Criterion, Plan, prune
from frcnn_core.spec.load import loads
from frcnn_core.training import EpochDone
from frcnn_core.weights import Origin


@pytest.fixture
def begin(tmp_path, caplog):
    """Start a toy model from weights of an origin; the warnings that this causes."""

    def begin(*, model="", **origin):
        path = tmp_path / "weights.h5"
        given = {"arch": "toy", "source": "a test", "channel_order": "rgb"}
        given |= {"means": (40.0, 40.0, 40.0), "scale": 60.0}
        layers = {"conv0": {"kernel": np.ones((3, 3, 3, 8), "float32")}}
        weights.write_weights(path, layers, Origin(**{**given, **origin}))
        text = toy.spec_text(tmp_path, training=f'pretrained_weights: "{path}"', model=model)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            _, report, _ = start(loads(text), toy.plugins(), "", "float32")
        assert report.count("Yes") == 1
        return [record.getMessage() for record in caplog.records]

    return begin


def test_weights_that_fit_the_spec_cause_no_warning(begin):
    assert begin() == []


def test_other_means_or_channel_order_are_told_with_what_to_write(begin):
    (message,) = begin(channel_order="bgr", scale=1.0)
    assert message.endswith(
        "trained otherwise than the spec says. Write:\n"
        "  model_config { input_image_config {\n"
        '      image_channel_order: "bgr"\n'
        '      image_channel_mean { key: "r" value: 40 }\n'
        '      image_channel_mean { key: "g" value: 40 }\n'
        '      image_channel_mean { key: "b" value: 40 }\n'
        "      image_scaling_factor: 1\n"
        "  } }"
    )


@pytest.mark.slow
def test_fields_of_the_network_that_the_weights_need_are_told(begin):
    (message,) = begin(model_config={"use_pooling": True})
    assert "use_pooling: True" in message and "image_channel_order" not in message
    assert begin(model="use_pooling: True", model_config={"use_pooling": True}) == []


def test_weights_of_another_arch_are_told(begin):
    (message,) = begin(arch="mobilenet_v2", scale=1.0, backbone_options={"relu6": "true"})
    assert message.endswith('Write:\n  model_config { arch: "mobilenet_v2" }')


def test_what_to_write_is_a_spec(begin):
    (message,) = begin(scale=1.0, model_config={"use_pooling": True, "all_projections": True})
    written = loads(message.partition("Write:\n")[2]).message.model_config
    assert written.use_pooling and written.all_projections
    assert written.input_image_config.image_scaling_factor == 1


# History --------------------------------------------------------------------------------------


def begun(folder, training=""):
    text = toy.spec_text(folder, training=training)
    return start(loads(text), toy.plugins(), "", "float32")[0]


@pytest.mark.slow
def test_a_history_begins_with_what_the_training_started_from(tmp_path):
    model = begun(tmp_path)
    started = {"event": "started", "arch": "toy", "parameters": model.num_parameters}
    assert model.history == [started]
    path = tmp_path / "weights.h5"
    layers = {"conv0": {"kernel": np.ones((3, 3, 3, 8), "float32")}}
    origin = Origin("toy", "a test", channel_order="rgb", means=(40.0,) * 3, scale=60.0)
    weights.write_weights(path, layers, origin)
    model = begun(tmp_path, f'pretrained_weights: "{path}"')
    assert model.history == [{**started, "field": "pretrained_weights", "file": "weights.h5"}]


@pytest.mark.slow
def test_the_history_of_a_retrained_model_tells_all_of_its_trainings(tmp_path):
    toy.write_scenes(tmp_path, "train", 4, seed=0)
    toy.write_scenes(tmp_path, "val", 2, seed=1)
    validation = toy.validated_on(tmp_path, "val")

    def trained(name, training=""):
        text = toy.spec_text(
            tmp_path, epochs=2, batch_size=2, validation=validation, period=2, training=training
        )
        made = assemble.training(loads(text), toy.plugins(), results_dir=tmp_path / name)
        return [event for event in made.trainer.run() if isinstance(event, EpochDone)]

    first = trained("first")
    model = Model.from_archive(archive.read(tmp_path / "first" / "frcnn_toy.epoch_2.tlt"))
    plan = Plan(model.detector.parts, Criterion(min_num_filters=4, granularity=2))
    archive.write(tmp_path / "pruned.tlt", prune(model, plan, 0.9).to_archive())
    second = trained("second", f'retrain_pruned_model: "{tmp_path}/pruned.tlt"')
    history = archive.read(tmp_path / "second" / "frcnn_toy.epoch_2.tlt").manifest["history"]
    kinds = " ".join(event["event"] for event in history)
    assert kinds == "started trained trained pruned started trained trained"
    assert history[4]["file"] == "pruned.tlt"
    assert history[4]["parameters"] == history[3]["parameters"] < history[0]["parameters"]
    epochs = [event for event in history if event["event"] == "trained"]
    for event, done in zip(epochs, first + second, strict=True):
        assert event["epoch"] == done.epoch
        assert event["learning_rate"] == done.learning_rate
        total = event["losses"].pop("total")
        assert event["losses"] == done.losses
        assert total == pytest.approx(sum(done.losses.values()))
        assert ("mAP" in event) == (done.validation is not None) == (done.epoch == 2)
    assert history[2]["mAP"] == first[1].validation.primary
