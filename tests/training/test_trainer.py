"""The loop, around a network of one weight that runs after the mean of the images.

``tests/assemble/test_trainer.py`` trains real detectors.
"""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.losses import Losses
from frcnn_core.detector.settings import TrainingSettings
from frcnn_core.errors import TrainingError
from frcnn_core.model_files import archive
from frcnn_core.model_files.checkpoints import Checkpoints, Naming
from frcnn_core.model_files.model import Model
from frcnn_core.processes.distributed import ALONE, Workers
from frcnn_core.structures import Batch
from frcnn_core.training.events import EpochDone, Interrupted, StepDone
from frcnn_core.training.trainer import EarlyStopping, Progress, Trainer


class Pursuer(FasterRCNN):
    """Its weight starts at 1; its loss is the squared distance to the mean of the images."""

    def __init__(self):
        def conv(filters, trainable=False):
            return keras.layers.Conv2D(
                filters, 1, use_bias=False, kernel_initializer="ones", trainable=trainable
            )

        images, cells, crops = (keras.Input(shape) for shape in ((1, 1, 1),) * 3)
        flat = keras.layers.Flatten()
        super().__init__(
            keras.Model(images, conv(1, trainable=True)(images)),
            keras.Model(cells, [conv(1)(cells), conv(4)(cells)]),
            keras.Model(crops, [flat(conv(2)(crops)), flat(conv(4)(crops))]),
            anchors=Anchors(scales=(16.0,), ratios=(1.0,)),
        )

    @property
    def weight(self) -> float:
        return float(self.trainable_variables[0].numpy().item())

    def losses(self, batch, seeds, settings):
        gap = tf.reduce_mean(self.trainable_variables[0].value - tf.reduce_mean(batch.images))
        nothing = tf.constant(0.0)
        return Losses(gap**2, nothing, nothing, nothing, nothing)


class ListedBatches:
    """Batches of one pixel an image."""

    def __init__(self, batches):
        self._batches = batches

    element_spec = Batch(
        tf.TensorSpec([None, 1, 1, 1]),
        tf.TensorSpec([None, 2]),
        tf.TensorSpec([None, 2]),
        tf.TensorSpec([None, None, 4]),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None], tf.bool),
        tf.TensorSpec([None], tf.string),
    )

    def __iter__(self):
        for pixels in self._batches:
            count = len(pixels)
            yield Batch(
                images=tf.reshape(tf.constant(pixels, tf.float32), (count, 1, 1, 1)),
                sizes=tf.ones((count, 2)),
                scales=tf.ones((count, 2)),
                boxes=tf.zeros((count, 1, 4)),
                classes=-tf.ones((count, 1), tf.int32),
                difficult=tf.zeros((count, 1), tf.bool),
                names=tf.constant([f"{pixel:g}.png" for pixel in pixels]),
            )


@dataclass
class Training:
    """A trainer, and what it did."""

    trainer: Trainer
    asked: list = field(default_factory=list)
    """(epoch, first step) that batches were asked for."""
    rates: list = field(default_factory=list)
    """Progress that the schedule was asked for."""

    @property
    def weight(self):
        return self.trainer.model.detector.weight

    def files(self):
        folder = self.trainer.checkpoints.naming.directory
        return sorted(path.name for path in folder.glob("*.tlt"))

    def run(self, kind=object):
        return [event for event in self.trainer.run() if isinstance(event, kind)]


def training(
    folder,
    epoch=((3.0,),),
    *,
    rate=0.1,
    num_epochs=2,
    interval=1,
    mAPs=None,
    progress=None,
    detector=None,
    **given,
) -> Training:
    """Sees the batches ``epoch``, lists of pixels, ``num_epochs`` times.

    Args:
        rate: the learning rate, or a function of progress.
        mAPs: what validation after validation finds.
    """
    batch_size = max(map(len, epoch))
    model = Model(
        detector=detector or Pursuer(),
        class_names=("car",),
        preprocessing=Preprocessing(height=1, width=1, channels=1, channel_order="l", means=(0,)),
        arch="resnet:10",
        spec="",
    )
    validations = iter(mAPs or ())

    def batches(number, first_step):
        made.asked.append((number, first_step))
        return ListedBatches(epoch[first_step:])

    def learning_rate(progress):
        made.rates.append(progress)
        return rate(progress) if callable(rate) else rate

    made = Training(trainer=None)
    made.trainer = Trainer(
        model=model,
        optimizer=keras.optimizers.SGD(),
        learning_rate=learning_rate,
        batches=batches,
        settings=TrainingSettings(),
        checkpoints=Checkpoints(Naming(folder, "net"), interval=interval),
        num_epochs=num_epochs,
        steps_per_epoch=len(epoch),
        batch_size=batch_size,
        seed=1,
        validate=mAPs and (lambda: SimpleNamespace(primary=next(validations))),
        progress=progress or Progress(),
        **given,
    )
    made.asked.clear()
    return made


@pytest.mark.slow
def test_a_step_goes_down_the_gradient_by_the_rate(tmp_path):
    made = training(tmp_path, [[3.0]], num_epochs=1)
    (step,) = made.run(StepDone)
    # 1 is 2 away from 3: the loss is 4, its slope -4.
    assert step.losses["rpn_class"] == 4
    assert made.weight == pytest.approx(1 + 0.1 * 4)


@pytest.mark.slow
def test_steps_and_epochs_are_told_in_their_order(tmp_path):
    made = training(tmp_path, [[3.0], [3.0]])
    told = [(type(event), event.epoch) for event in made.run()]
    first = [(StepDone, 1), (StepDone, 1), (EpochDone, 1)]
    assert told == first + [(kind, 2) for kind, _ in first]
    assert [step.step for step in training(tmp_path / "b", [[3.0], [3.0]]).run(StepDone)] == [
        *(1, 2),
        *(1, 2),
    ]
    assert made.asked == [(0, 0), (1, 0)]


def test_the_rate_follows_the_schedule_step_by_step_over_the_whole_training(tmp_path):
    made = training(tmp_path, [[3.0], [3.0]], rate=lambda progress: 0.1 - 0.1 * progress)
    steps = made.run(StepDone)
    assert made.rates == [0, 0.25, 0.5, 0.75]
    assert [step.learning_rate for step in steps] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    # Each step takes 2 x rate of the gap to 3, which starts at 2.
    gap = 2 * (1 - 0.2) * (1 - 0.15) * (1 - 0.1) * (1 - 0.05)
    assert made.weight == pytest.approx(3 - gap, rel=1e-5)


def test_the_losses_of_an_epoch_are_means_over_its_images_not_its_batches(tmp_path):
    made = training(tmp_path, [[3.0, 3.0], [5.0]], rate=0.0, num_epochs=1)
    (epoch,) = made.run(EpochDone)
    assert epoch.losses["rpn_class"] == pytest.approx((4 + 4 + 16) / 3)


def test_a_training_goes_on_from_where_it_was(tmp_path):
    losses = {**dict.fromkeys(reversed(Losses._fields), 0.0), "rpn_class": 6.0}
    done = Progress(epoch=1, step=1, losses=losses, images=1)
    made = training(tmp_path, [[3.0], [3.0]], rate=0.0, progress=done)
    steps, epochs = [], []
    for event in made.trainer.run():
        (steps if isinstance(event, StepDone) else epochs).append(event)
    assert made.asked == [(1, 1)]
    assert [(step.epoch, step.step) for step in steps] == [(2, 2)]
    assert made.rates == [0.75]
    # 6 from before, 4 of the step that was left.
    assert epochs[0].losses["rpn_class"] == pytest.approx((6 + 4) / 2)
    assert tuple(epochs[0].losses) == Losses._fields


# Checkpoints ----------------------------------------------------------------------------------


def test_every_intervals_epoch_and_the_last_are_kept(tmp_path):
    made = training(tmp_path, num_epochs=5, interval=2)
    saved = [epoch.checkpoint and epoch.checkpoint.name for epoch in made.run(EpochDone)]
    expected = ["net.epoch_2.tlt", "net.epoch_4.tlt", "net.epoch_5.tlt"]
    assert saved == [None, expected[0], None, *expected[1:]]
    assert made.files() == expected


def test_the_best_epoch_is_kept_until_it_is_beaten(tmp_path):
    made = training(tmp_path, num_epochs=5, interval=9, mAPs=[0.1, 0.6, 0.4, 0.3, 0.2])
    epochs = made.run(EpochDone)
    assert [epoch.is_best for epoch in epochs] == [True, True, False, False, False]
    assert made.files() == ["net.epoch_2.tlt", "net.epoch_5.tlt"]
    index = json.loads((tmp_path / "net.checkpoints.json").read_text())["checkpoints"]
    assert [(kept["epoch"], kept["best"], kept["final"]) for kept in index] == [
        (2, True, False),
        (5, False, True),
    ]


@pytest.mark.slow
def test_validation_comes_every_period_and_at_the_end(tmp_path):
    made = training(tmp_path, num_epochs=5, validation_period=2, mAPs=[0.1] * 5)
    validated = [epoch.epoch for epoch in made.run(EpochDone) if epoch.validation]
    assert validated == [2, 4, 5]


@pytest.mark.slow
def test_a_checkpoint_holds_weights_optimizer_and_progress(tmp_path):
    made = training(tmp_path, [[3.0], [3.0]], num_epochs=1)
    made.run()
    stored = archive.read(tmp_path / "net.epoch_1.tlt")
    assert stored.manifest["progress"]["epoch"] == 1
    assert stored.manifest["progress"]["step"] == 0
    (weight,) = (v for name, v in stored.weights.items() if name.startswith("features/"))
    assert weight.item() == pytest.approx(made.weight)
    assert [v.item() for name, v in stored.optimizer.items() if "iteration" in name] == [2]


@pytest.mark.slow
def test_checkpoints_are_encrypted_with_the_key(tmp_path):
    training(tmp_path, num_epochs=1, key="secret").run()
    assert archive.read(tmp_path / "net.epoch_1.tlt", "secret").manifest["arch"] == "resnet:10"
    assert b"PK" != (tmp_path / "net.epoch_1.tlt").read_bytes()[:2]


def test_checkpoints_of_another_run_are_not_overwritten(tmp_path):
    training(tmp_path, num_epochs=1).run()
    before = (tmp_path / "net.epoch_1.tlt").read_bytes()
    with pytest.raises(TrainingError, match="would overwrite"):
        training(tmp_path, [[9.0]], num_epochs=1).run()
    assert (tmp_path / "net.epoch_1.tlt").read_bytes() == before


# Ends -----------------------------------------------------------------------------------------


def test_stop_saves_after_the_current_step_and_ends(tmp_path):
    made = training(tmp_path, [[3.0], [3.0], [3.0]])
    events = []
    for event in made.trainer.run():
        events.append(event)
        if isinstance(event, StepDone) and (event.epoch, event.step) == (2, 2):
            made.trainer.stop()
    assert events[-1] == Interrupted(tmp_path / "net.epoch_1.step_2.tlt")
    assert isinstance(events[-2], StepDone)
    progress = archive.read(events[-1].checkpoint).manifest["progress"]
    assert (progress["epoch"], progress["step"], progress["images"]) == (1, 2, 2)


@pytest.mark.slow
def test_a_stop_at_the_last_step_of_an_epoch_leaves_nothing_to_do_but_its_end(tmp_path):
    made = training(tmp_path, [[3.0]], num_epochs=1)
    events = made.trainer.run()
    next(events)
    made.trainer.stop()
    checkpoint = next(events).checkpoint
    progress = Progress(**archive.read(checkpoint).manifest["progress"])
    resumed = training(tmp_path, [[3.0]], num_epochs=1, progress=progress)
    (epoch,) = resumed.run()
    assert epoch.losses["rpn_class"] == 4
    assert made.files() == ["net.epoch_0.step_1.tlt", "net.epoch_1.tlt"]


def test_a_loss_that_is_no_number_stops_and_names_images_and_terms(tmp_path):
    made = training(
        tmp_path, [[3.0, 4.0]], rate=lambda progress: 1e38 if progress >= 0.5 else 0.1, num_epochs=4
    )
    with pytest.raises(TrainingError) as caught:
        made.run()
    message = str(caught.value)
    assert "rpn_class inf" in message and "head_box 0" in message
    assert "images of the batch: 3.png, 4.png" in message
    assert "Learning rate 1e+38" in message
    # The third epoch's step made the weight infinite, the fourth found out.
    assert made.files()[:2] == ["net.epoch_1.tlt", "net.epoch_2.tlt"]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    made = training(tmp_path, rate=lambda progress: 0.1 if progress == 0 else float("inf"))
    with pytest.raises(TrainingError, match=r"first features/.*epoch_2\.tlt was not written"):
        made.run()
    assert made.files() == ["net.epoch_1.tlt"]


def test_it_stops_early_when_the_loss_no_longer_falls(tmp_path):
    made = training(
        tmp_path, rate=0.0, num_epochs=9, interval=5, early_stopping=EarlyStopping(patience=3)
    )
    # The first epoch is the lowest; three more do not beat it.
    epochs = made.run(EpochDone)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert made.files() == ["net.epoch_4.tlt"]


@pytest.mark.slow
def test_it_goes_on_while_the_loss_falls(tmp_path):
    made = training(tmp_path, num_epochs=6, early_stopping=EarlyStopping(patience=1))
    assert len(made.run(EpochDone)) == 6


def test_a_fall_of_less_than_min_delta_is_none(tmp_path):
    # Losses: 4, then 4 x 0.8^2 = 2.56, then 1.64.
    stopping = EarlyStopping(patience=1, min_delta=1.0)
    made = training(tmp_path, num_epochs=6, early_stopping=stopping)
    assert [epoch.epoch for epoch in made.run(EpochDone)] == [1, 2, 3]


@pytest.mark.slow
def test_patience_counts_on_in_a_resumed_training(tmp_path):
    waited = Progress(epoch=2, lowest_loss=1.0, epochs_since_lowest=1)
    made = training(
        tmp_path,
        rate=0.0,
        num_epochs=9,
        early_stopping=EarlyStopping(patience=2),
        progress=waited,
    )
    assert [epoch.epoch for epoch in made.run(EpochDone)] == [3]


def test_a_finished_training_has_nothing_left_to_do(tmp_path):
    assert training(tmp_path, num_epochs=2, progress=Progress(epoch=2)).run() == []


def test_one_trace_serves_batches_of_any_size(tmp_path):
    made = training(tmp_path, [[3.0, 4.0], [5.0], [1.0, 2.0]], num_epochs=1)
    made.run()
    assert made.trainer._update.experimental_get_tracing_count() == 1


def test_every_image_of_every_epoch_has_random_numbers_of_its_own(tmp_path):
    class Drawn(Pursuer):
        def losses(self, batch, seeds, settings):
            tf.py_function(lambda rows: drawn.extend(map(tuple, rows.numpy())), [seeds], [])
            return super().losses(batch, seeds, settings)

    drawn = []
    training(tmp_path, [[3.0, 4.0], [5.0]], num_epochs=2, detector=Drawn()).run()
    streams = {tuple(np.add(seed, [0, i])) for seed in drawn for i in range(4)}
    assert len(streams) == 2 * 3 * 4


@pytest.mark.slow
def test_a_checkpoint_in_mid_epoch_goes_on_with_as_many_images_per_step_only(tmp_path):
    made = training(tmp_path, [[3.0, 4.0], [5.0, 6.0]], num_epochs=1)
    next(made.trainer.run())
    half = made.trainer.progress
    assert (half.step, half.images_per_step) == (1, 2)
    with pytest.raises(TrainingError, match="2 images per step; this one has 1 "):
        training(tmp_path, [[3.0]] * 4, progress=half)
    whole_epochs = Progress(epoch=1, images_per_step=2)
    assert training(tmp_path, [[3.0]] * 4, progress=whole_epochs).run(EpochDone)


# Several processes (real ones are in tests/test_training_processes.py) ------------------------


def seeds_of(folder, epoch, workers=ALONE):
    """What each step of an epoch is given to draw from."""

    class Drawn(Pursuer):
        def losses(self, batch, seeds, settings):
            tf.py_function(lambda rows: drawn.append(rows.numpy().tolist()), [seeds], [])
            return super().losses(batch, seeds, settings)

    drawn = []
    training(folder, epoch, num_epochs=1, detector=Drawn(), workers=workers).run()
    return drawn


@pytest.mark.slow
def test_an_image_draws_by_its_place_in_the_epoch_in_whichever_process(tmp_path):
    whole = seeds_of(tmp_path / "whole", [[3.0] * 4, [3.0] * 3])
    first = seeds_of(tmp_path / "first", [[3.0] * 2, [3.0] * 2], Workers(rank=0, size=2))
    second = seeds_of(tmp_path / "second", [[3.0] * 2, [3.0]], Workers(rank=1, size=2))
    for step in range(2):
        assert sorted(first[step] + second[step]) == whole[step]


def test_the_rate_is_that_of_one_process_times_their_number(tmp_path):
    made = training(tmp_path, [[3.0]], rate=0.1, num_epochs=1, workers=Workers(size=4))
    (step,) = made.run(StepDone)
    assert step.learning_rate == pytest.approx(0.4)
    assert made.weight == pytest.approx(1 + 0.4 * 4)


class Fillers(ListedBatches):
    """Batches of images that have no name."""

    def __iter__(self):
        for batch in super().__iter__():
            yield batch._replace(names=tf.fill(batch.names.shape, ""))


@pytest.mark.slow
def test_a_filler_is_no_image_and_has_no_weight(tmp_path):
    @dataclass(frozen=True)
    class Told(Workers):
        def average(self, tensors, weight, *, sums=(), compressible=0):
            tf.py_function(
                lambda *given: told.append([v.numpy() for v in given]), [weight, *sums], []
            )
            return super().average(tensors, weight, sums=sums)

    told = []
    made = training(tmp_path, [[3.0, 3.0], [3.0]], num_epochs=1, rate=0.0, workers=Told(size=2))
    fillers = training(tmp_path / "b", [[3.0]], num_epochs=1, rate=0.0, workers=Told(size=2))
    fillers.trainer.batches = lambda epoch, first_step: Fillers([[3.0]])
    made.run()
    next(fillers.trainer.run())
    # (weight, images, stop) of each step.
    assert told == [[1, 2, 0], [0.5, 1, 0], [0, 0, 0]]


@pytest.mark.slow
def test_a_stop_waits_until_all_processes_know(tmp_path):
    made = training(tmp_path, [[3.0]] * 4, num_epochs=1, workers=Workers(size=2))
    steps = []
    for event in made.trainer.run():
        if isinstance(event, StepDone):
            steps.append(event.step)
            made.trainer.stop()
    assert steps == [1, 2]
    assert event == Interrupted(tmp_path / "net.epoch_0.step_2.tlt")
