"""Quantization-aware training from spec to export, on a toy."""

import numpy as np
import pytest
import tensorflow as tf
import toy
from toy import noise, run

from frcnn_core import assemble
from frcnn_core.assemble.start import start
from frcnn_core.detector import folding
from frcnn_core.detector.canvases import Canvases
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.errors import SpecError
from frcnn_core.model_files import archive
from frcnn_core.plugin.components import NoOptions
from frcnn_core.pruning import Criterion, Plan, prune
from frcnn_core.quantization import Quantization, quantization, quantize, quantizers, ranges
from frcnn_core.spec.load import loads
from frcnn_core.structures import Detections
from frcnn_core.training import EpochDone, Interrupted
from frcnn_core.training import statistics as calibration
from frcnn_saved_model import SavedModel

QAT = "enable_qat: True"
PER_CHANNEL = f"{QAT} qat_config {{ per_channel_weights: True }}"
SETTINGS = TrainingSettings(
    rpn_mini_batch=8, roi_mini_batch=4, rpn_pre_nms_top_n=32, rpn_nms_max_boxes=8
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=0)
    return folder


def begin(folder, training, **given):
    """The model that a training starts with."""
    text = toy.spec_text(folder, training=training, **given)
    return start(loads(text), toy.plugins(), "", "float32")[0]


def training(folder, results, training=QAT, **given):
    spec = loads(toy.spec_text(folder, training=training, **given))
    return assemble.training(spec, toy.plugins(), results_dir=results)


def quantized_detector(**config):
    detector = toy.detector(**config)
    return FasterRCNN(**quantize(detector.parts), anchors=detector.anchors)


# What a spec asks for -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_spec_asks_for_it(tmp_path):
    assert quantization(begin(tmp_path, "").detector.parts) is None
    assert quantization(begin(tmp_path, QAT).detector.parts) == Quantization(False)
    assert quantization(begin(tmp_path, PER_CHANNEL).detector.parts) == Quantization(True)


@pytest.mark.slow
def test_a_new_network_has_the_weights_that_it_would_have_without(tmp_path):
    plain, quantized = (begin(tmp_path, text).to_archive().weights for text in ("", QAT))
    assert plain.keys() < quantized.keys()
    for name, value in plain.items():
        np.testing.assert_array_equal(quantized[name], value)


@pytest.mark.slow
def test_pretrained_weights_go_into_quantized_layers_by_name(tmp_path):
    path = tmp_path / "float.tlt"
    source = toy.model(seed=5)
    archive.write(path, source.to_archive())
    text = toy.spec_text(tmp_path, training=f'{QAT} pretrained_weights: "{path}"')
    model, loaded, _ = start(loads(text), toy.plugins(), "", "float32")
    assert loaded.count("No") == 0
    np.testing.assert_array_equal(
        model.detector.features.get_layer("conv2").kernel,
        source.detector.features.get_layer("conv2").kernel,
    )


@pytest.mark.slow
def test_pretrained_weights_of_a_quantized_model_bring_their_ranges(tmp_path):
    source = begin(tmp_path, QAT, seed=5)
    for layer in quantizers(source.detector.parts):
        layer.range.assign(3.0)
        layer.counter.assign(7.0)
    path = tmp_path / "quantized.tlt"
    archive.write(path, source.to_archive())
    model = begin(tmp_path, f'{QAT} pretrained_weights: "{path}"')
    assert set(ranges(model.detector.parts).tensors.values()) == {3.0}
    plain = begin(tmp_path, f'pretrained_weights: "{path}"')
    np.testing.assert_array_equal(
        plain.detector.rpn.get_layer("rpn_conv1").kernel,
        source.detector.rpn.get_layer("rpn_conv1").kernel,
    )


@pytest.fixture(params=["resume_from_model", "retrain_pruned_model"])
def go_on(request, scenes, tmp_path):
    """Start with a file that was trained as one text says, by a spec that says another."""

    def go_on(trained, wanted):
        made = training(scenes, tmp_path, trained)
        path = tmp_path / "trained.tlt"
        archive.write(path, made.trainer.model.to_archive(made.trainer.optimizer))
        return begin(scenes, f'{wanted} {request.param}: "{path}"')

    go_on.field = request.param
    return go_on


@pytest.mark.slow
def test_a_file_that_was_trained_without_cannot_go_on_with_it(go_on):
    with pytest.raises(SpecError, match=r"enable_qat: .*trained without.*initial") as refusal:
        go_on("", QAT)
    assert "Type enable_qat: False" in str(refusal.value)


@pytest.mark.slow
def test_a_file_that_was_trained_with_it_cannot_go_on_without(go_on):
    with pytest.raises(SpecError, match="Type enable_qat: True"):
        go_on(QAT, "")


@pytest.mark.slow
def test_a_file_that_was_trained_with_it_goes_on_with_it(go_on):
    assert quantization(go_on(QAT, QAT).detector.parts) == Quantization(False)


@pytest.mark.slow
def test_kernels_can_be_rounded_otherwise_in_a_retraining_only(go_on):
    if go_on.field == "resume_from_model":
        with pytest.raises(SpecError, match=r"per_channel_weights: .* Type False to go on"):
            go_on(QAT, PER_CHANNEL)
    else:
        assert quantization(go_on(QAT, PER_CHANNEL).detector.parts) == Quantization(True)


# Steps ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_first_step_uses_its_own_batch_and_every_range_has_seen_it(scenes, tmp_path):
    made = training(scenes, tmp_path, batch_size=6, epochs=1)
    first = next(made.trainer.batches(0, 0).__iter__())
    next(made.trainer.run())
    parts = made.trainer.model.detector.parts
    assert all(layer.counter.numpy() == 1 for layer in quantizers(parts))
    assert ranges(parts).tensors["features/input_image"] == pytest.approx(
        np.abs(first.images).max(), rel=1e-6
    )


@pytest.mark.slow
def test_measuring_frozen_statistics_leaves_ranges_unseen():
    detector = quantized_detector(freeze_bn=True)
    calibration.measure_statistics(detector, [noise(32)], SETTINGS)
    assert set(ranges(detector.parts).tensors.values()) == {0.0}
    plain = toy.detector(freeze_bn=True)
    calibration.measure_statistics(plain, [noise(32)], SETTINGS)
    for name in ("conv0_bn", "conv3_bn"):
        found, expected = (d.features.get_layer(name).moving_variance for d in (detector, plain))
        np.testing.assert_allclose(found, expected, rtol=0.1)  # but for what was rounded
        assert not np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_losses_close_to_float32s(precision):
    expected = quantized_detector()
    found = toy.model(precision=precision).detector
    found = FasterRCNN(**quantize(found.parts), anchors=found.anchors)
    for one, other in zip(found.parts.values(), expected.parts.values(), strict=True):
        one.set_weights(other.get_weights())
    seeds = tf.zeros([2, 2], tf.int32)
    one, other = (d.losses(noise(), seeds, SETTINGS).total for d in (found, expected))
    assert float(one) == pytest.approx(float(other), rel=0.1)
    for name, value in ranges(expected.parts).tensors.items():
        if name.startswith("features/"):
            assert ranges(found.parts).tensors[name] == pytest.approx(value, rel=0.05)


@pytest.mark.slow
def test_images_of_different_sizes_have_the_ranges_that_they_have_alone():
    """What a batch pads with, here large numbers, is in no range."""
    parts = quantized_detector().parts
    sizes = [(32, 64), (64, 48)]
    random = np.random.default_rng(0)
    images = [random.standard_normal((*size, 3), "float32") for size in sizes]
    together = np.full((2, 64, 64, 3), 1000.0, "float32")
    for place, image in zip(together, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    run = {"training": True, "canvases": Canvases(tf.constant(sizes))}
    folding.run(parts["features"], tf.constant(together), **run)
    found = ranges(parts).tensors
    assert found["features/input_image"] == max(np.abs(image).max() for image in images)
    assert all(value < 100 for value in found.values())


@pytest.mark.slow
def test_a_detection_is_of_the_ranges_alone_whatever_else_is_in_the_batch():
    detector = quantized_detector()
    detector.losses(noise(), tf.zeros([2, 2], tf.int32), SETTINGS)
    settings = DetectionSettings(rpn_pre_nms_top_n=32, rpn_nms_max_boxes=8)
    images, sizes = noise(3).images, noise(3).sizes
    together = detector.detect(images, sizes, settings)
    alone = detector.detect(images[1:2], sizes[1:2], settings)
    np.testing.assert_allclose(together.scores[1], alone.scores[0], atol=1e-5)


# Whole trainings ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("text", [QAT, pytest.param(PER_CHANNEL, marks=pytest.mark.conformance)])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_last_bit(scenes, tmp_path, text):
    whole, part = tmp_path / "whole", tmp_path / "part"
    run(training(scenes, whole, text, epochs=2))
    events = run(training(scenes, part, text, epochs=2), stop_at=(1, 1))
    assert isinstance(events[-1], Interrupted)
    run(training(scenes, part, f'{text} resume_from_model: "{events[-1].checkpoint}"', epochs=2))
    name = "frcnn_toy.epoch_2.tlt"
    assert (whole / name).read_bytes() == (part / name).read_bytes()
    counters = {k: v for k, v in archive.read(whole / name).weights.items() if "counter" in k}
    assert counters and set(map(float, counters.values())) == {4.0}  # two epochs of two steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Of a toy that has learnt its scenes: a folder, the training, and its epochs."""
    folder = tmp_path_factory.mktemp("trained")
    toy.write_scenes(folder, "train", 64, seed=0)
    toy.write_scenes(folder, "val", 16, seed=1)
    made = training(
        folder,
        folder / "results",
        epochs=16,
        rate=0.005,
        period=16,
        validation=toy.validated_on(folder, "val"),
    )
    return folder, made, [event for event in run(made) if isinstance(event, EpochDone)]


@pytest.mark.slow
def test_it_learns_to_find_red_and_blue_squares_as_without(trained):
    """The bounds are those of the same training without rounding, in tests of the trainer."""
    _, _, epochs = trained
    losses = [sum(epoch.losses.values()) for epoch in epochs]
    assert losses[-1] < 0.5 * losses[0]
    assert epochs[-1].validation.primary > 0.5


@pytest.mark.slow
def test_what_was_trained_with_rounding_is_as_good_with_it_as_without(trained, tmp_path):
    """The same weights in a network without fake quantization."""
    folder, made, epochs = trained
    without = training(folder, tmp_path, "", validation=toy.validated_on(folder, "val"))
    plain, weights = without.trainer.model, made.trainer.model.to_archive().weights
    plain.set_weights({name: weights[name] for name in plain.to_archive().weights})
    assert quantization(plain.detector.parts) is None
    mAP = without.trainer.validate().primary
    assert mAP == pytest.approx(epochs[-1].validation.primary, abs=0.05)


@pytest.mark.slow
def test_a_pruned_model_is_retrained_with_its_ranges(trained, tmp_path):
    folder, made, _ = trained
    parts = made.trainer.model.detector.parts
    plan = Plan(parts, Criterion(min_num_filters=4, granularity=2))
    pruned = prune(made.trainer.model, plan, threshold=0.7)
    path = tmp_path / "pruned.tlt"
    archive.write(path, pruned.to_archive())
    assert pruned.num_parameters < 0.9 * made.trainer.model.num_parameters
    again = training(folder, tmp_path, f'{QAT} retrain_pruned_model: "{path}"', epochs=1)
    retrained = again.trainer.model.detector.parts
    assert ranges(retrained).tensors == ranges(parts).tensors
    steps = 16
    counters = [layer.counter.numpy() + steps for layer in quantizers(retrained)]
    run(again)
    assert [layer.counter.numpy() for layer in quantizers(retrained)] == counters


@pytest.mark.slow
def test_an_exported_model_finds_what_the_model_finds(trained, tmp_path):
    _, made, _ = trained
    model = made.trainer.model
    settings = DetectionSettings(rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16)
    SavedModel().export(model, tmp_path / "out", settings=settings, options=NoOptions())
    images, sizes = noise(3).images / 3, noise(3).sizes
    expected = model.detector.detect(images, sizes, settings)
    answer = SavedModel().load(tmp_path / "out").detect(images, sizes)
    assert expected.counts.numpy().min() > 0
    for name in Detections._fields:
        np.testing.assert_allclose(getattr(answer, name), getattr(expected, name), atol=1e-4)
