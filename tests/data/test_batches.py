from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from record_sets import CLASSES, RESTLESS, SAME_SIZE, epoch_of, spoilt, stems

from frcnn_core.data.augment import Augmentation
from frcnn_core.data.bad_images import BadImages
from frcnn_core.data.batches import filler
from frcnn_core.data.pipeline import evaluation_batches
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.errors import DataError


def test_a_filler_of_a_dynamic_shape_is_as_small_as_an_image_can_be():
    empty = filler(Preprocessing(0, 0, min_side=600, max_side=1000))
    assert empty.images.shape == (1, 608, 608, 3)  # in whole cells of 16 pixels


@pytest.mark.slow
def test_bad_images_are_named_with_what_is_wrong(plain_source):
    expected = spoilt(plain_source)
    bad = BadImages(limit=3)
    assert sum(len(batch.names) for batch in epoch_of(plain_source, bad_images=bad)) == 7
    assert bad.reasons.keys() == expected.keys()
    for path, reason in expected.items():
        assert bad.reasons[path].startswith(reason)


@pytest.mark.slow
def test_more_bad_images_than_allowed_are_an_error_that_names_all(plain_source):
    expected = spoilt(plain_source)
    with pytest.raises(DataError, match="--max-bad allows 2") as error:
        list(epoch_of(plain_source, bad_images=BadImages(limit=2), batch_size=7))
    for path, reason in expected.items():
        assert f"{path}: {reason}" in str(error.value)


@pytest.mark.slow
def test_no_image_may_be_bad_unless_asked_for(plain_source):
    spoilt(plain_source)
    with pytest.raises(DataError, match="cannot be used"):
        list(epoch_of(plain_source))
    with pytest.raises(DataError, match="cannot be used"):
        list(evaluation_batches([plain_source], CLASSES, SAME_SIZE, batch_size=3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "preprocessing",
    [SAME_SIZE, Preprocessing(20, 30, resize=False), Preprocessing(0, 0, min_side=20, max_side=99)],
)
def test_a_bad_image_keeps_its_place_as_a_black_one_of_no_size(plain_source, preprocessing):
    """Strong changes of colour and place, none of which it may get."""
    options = {"preprocessing": preprocessing, "augmentation": RESTLESS}
    before = list(epoch_of(plain_source, **options))
    bad = BadImages(limit=3)
    gone = [Path(path).stem for path in spoilt(plain_source)]
    after = list(epoch_of(plain_source, bad_images=bad, **options))
    assert stems(after) == stems(before)
    for whole, batch in zip(before, after, strict=True):
        assert batch.images.shape == whole.images.shape
        for row, stem in enumerate(stems([batch])):
            if stem in gone:
                assert not batch.images[row].numpy().any()
                assert batch.sizes[row].numpy().tolist() == [0, 0]
                assert batch.scales[row].numpy().tolist() == [1, 1]
                assert set(batch.classes[row].numpy().tolist()) == {-1}
                assert not batch.boxes[row].numpy().any()
            else:
                np.testing.assert_array_equal(batch.images[row], whole.images[row])
                np.testing.assert_array_equal(batch.boxes[row], whole.boxes[row])


@pytest.mark.slow
def test_an_error_that_no_image_is_to_blame_for_is_raised_as_it_is(plain_source):
    """A mistake of the pipeline's own must not pass for a bad image."""

    class Mistaken(Augmentation):
        def apply(self, image, boxes, classes, difficult, seed):
            with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(boxes)[0], 5)]):
                return tf.identity(image), boxes, classes, difficult

    with pytest.raises(tf.errors.InvalidArgumentError):
        list(epoch_of(plain_source, augmentation=Mistaken(), bad_images=BadImages(limit=100)))


@pytest.mark.slow
def test_images_known_to_be_bad_are_not_read_again(plain_source):
    """In the second epoch nothing fails: the dataset underneath goes through."""
    spoilt(plain_source)
    bad = BadImages(limit=3)
    list(epoch_of(plain_source, bad_images=bad))
    second = epoch_of(plain_source, bad_images=bad, epoch=1)
    sizes = np.concatenate([batch.sizes for batch, _ in second.dataset])
    assert (sizes == 0).all(axis=1).sum() == 3


@pytest.mark.slow
def test_a_record_file_that_is_damaged_in_mid_training_is_named(plain_source):
    batches = epoch_of(plain_source)
    (file,) = plain_source.records
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(DataError, match="no TFRecord file, or a damaged one") as error:
        list(batches)
    assert str(file) in str(error.value)
