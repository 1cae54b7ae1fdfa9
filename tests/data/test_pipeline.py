import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from record_sets import CLASSES, RESTLESS, SAME_SIZE, epoch_of, labelled, spoilt, stems

from frcnn_core.data import records
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.labels import Object
from frcnn_core.data.pipeline import evaluation_batches, training_batches
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sampling import SamplingMode
from frcnn_core.data.sources import Source

BCCD = Path(os.environ.get("FRCNN_BCCD", Path(__file__).parents[3] / "shared/data/bccd"))


def only_image(source, preprocessing=SAME_SIZE, **options):
    """Boxes, classes and difficult of a set of one image."""
    (batch,) = epoch_of(source, preprocessing=preprocessing, **options)
    return batch.boxes[0].numpy().tolist(), batch.classes[0].numpy().tolist(), batch


def images_by_name(batches) -> dict[str, np.ndarray]:
    return {
        name.decode(): image
        for batch in batches
        for name, image in zip(batch.names.numpy(), batch.images.numpy(), strict=True)
    }


# --- what an epoch is


@pytest.mark.slow
def test_an_epoch_shows_every_image_once_and_keeps_the_partial_last_batch(plain_source):
    batches = list(epoch_of(plain_source, batch_size=3))
    assert [len(batch.names) for batch in batches] == [3, 3, 1]
    assert sorted(stems(batches)) == list("0123456")


@pytest.mark.slow
def test_the_order_is_a_function_of_seed_and_epoch(plain_source):
    order = stems(epoch_of(plain_source, seed=1, epoch=0))
    assert stems(epoch_of(plain_source, seed=1, epoch=0)) == order
    assert stems(epoch_of(plain_source, seed=1, epoch=1)) != order
    assert stems(epoch_of(plain_source, seed=2, epoch=0)) != order


@pytest.mark.slow
def test_images_of_several_files_and_sources_are_mixed(make_source):
    images = {f"{i}": (20, 30, []) for i in range(8)}
    sources = [make_source(images, "first", shards=3), make_source(images, "second")]
    (batch,) = training_batches(
        sources, CLASSES, SAME_SIZE, batch_size=16, max_objects=9, seed=1, epoch=0
    )
    folders = [name.decode().split("/")[-3] for name in batch.names.numpy()]
    assert folders.count("first") == 8
    assert "second" in folders[:8]


@pytest.mark.slow
def test_ranks_share_an_epoch_and_change_nothing_about_an_image(plain_source):
    whole = images_by_name(epoch_of(plain_source, augmentation=RESTLESS))
    first, second = (
        images_by_name(epoch_of(plain_source, augmentation=RESTLESS, shard=(rank, 2)))
        for rank in range(2)
    )
    assert (len(first), len(second)) == (4, 3)
    assert sorted(first | second) == sorted(whole)
    for name, image in (first | second).items():
        np.testing.assert_array_equal(image, whole[name])


@pytest.mark.slow
def test_a_rank_without_an_image_in_the_last_step_gets_a_filler(plain_source):
    first, second = (
        list(epoch_of(plain_source, batch_size=3, shard=(rank, 2), first_step=1))
        for rank in range(2)
    )
    (last,), (empty,) = first, second
    assert last.names.shape == empty.names.shape == (1,)
    assert last.names.numpy()[0].endswith(b".png") and empty.names.numpy()[0] == b""
    assert empty.images.shape == last.images.shape
    assert (empty.sizes.numpy().any(), empty.classes.numpy().tolist()) == (False, [[-1]])
    spec = epoch_of(plain_source).element_spec
    assert all(
        value.dtype == part.dtype and part.shape.is_compatible_with(value.shape)
        for value, part in zip(empty, spec, strict=True)
    )


@pytest.mark.slow
def test_ranks_evaluate_every_other_batch_of_one_process(plain_source):
    whole, *ranks = (
        list(evaluation_batches([plain_source], CLASSES, SAME_SIZE, batch_size=2, shard=shard))
        for shard in ((0, 1), (0, 2), (1, 2))
    )
    assert [stems([batch]) for batch in whole] == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]
    assert [[stems([batch]) for batch in rank] for rank in ranks] == [
        [["0", "1"], ["4", "5"]],
        [["2", "3"], ["6"]],
    ]


@pytest.mark.slow
def test_an_epoch_can_go_on_where_it_was_interrupted(plain_source):
    whole = list(epoch_of(plain_source, augmentation=RESTLESS))
    rest = list(epoch_of(plain_source, augmentation=RESTLESS, first_step=2))
    assert (len(whole), len(rest)) == (4, 2)
    for expected, batch in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(batch.images, expected.images)
        np.testing.assert_array_equal(batch.boxes, expected.boxes)


@pytest.mark.slow
def test_augmentation_is_the_same_again_and_different_in_the_next_epoch(plain_source):
    first = images_by_name(epoch_of(plain_source, augmentation=RESTLESS))
    again = images_by_name(epoch_of(plain_source, augmentation=RESTLESS, batch_size=3))
    later = images_by_name(epoch_of(plain_source, augmentation=RESTLESS, epoch=1))
    for name, image in first.items():
        np.testing.assert_array_equal(image, again[name])
        assert np.abs(image - later[name]).max() > 1


@pytest.mark.slow
def test_evaluation_goes_through_the_records_in_order_and_is_never_random(make_source):
    images = {f"{i}": (20, 30, []) for i in range(5)}
    sources = [make_source(images, "first"), make_source(images, "second")]
    first, again = (
        list(evaluation_batches(sources, CLASSES, SAME_SIZE, batch_size=3)) for _ in range(2)
    )
    assert stems(first) == list("0123401234")
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.slow
def test_uniform_sampling_takes_as_many_images_of_each_source(make_source):
    few = make_source({f"{i}": (20, 30, []) for i in range(2)}, "few")
    many = make_source({f"{i}": (20, 30, []) for i in range(10)}, "many", shards=3)
    batches = training_batches(
        [few, many],
        CLASSES,
        SAME_SIZE,
        batch_size=4,
        max_objects=9,
        seed=1,
        epoch=0,
        sampling=SamplingMode.UNIFORM,
    )
    names = [name.decode().split("/")[-3:] for batch in batches for name in batch.names.numpy()]
    of_few = [name for folder, _, name in names if folder == "few"]
    of_many = [name for folder, _, name in names if folder == "many"]
    assert sorted(of_few) == ["0.png"] * 3 + ["1.png"] * 3
    assert len(of_many) == len(set(of_many)) == 6


@pytest.mark.slow
def test_weights_of_sources_count_and_resuming_and_ranks_still_fit(make_source):
    images = {f"{i}": (20, 30, []) for i in range(6)}
    sources = [
        make_source(images, "first"),
        replace(make_source(images, "second"), weight=2.0),
    ]

    def names(**options):
        batches = training_batches(
            sources, CLASSES, SAME_SIZE, batch_size=2, max_objects=9, seed=1, epoch=0, **options
        )
        return [name.decode() for batch in batches for name in batch.names.numpy()]

    whole = names()
    assert len(whole) == 12
    assert sum("/second/" in name for name in whole) == 8
    assert names(first_step=4) == whole[8:]
    assert [names(shard=(rank, 2)) for rank in range(2)] == [whole[::2], whole[1::2]]


DETERMINISTIC = """
import sys
import tensorflow as tf

tf.keras.utils.set_random_seed(1)
tf.config.experimental.enable_op_determinism()
if sys.argv[1] == "control":
    def nested(number):
        return tf.data.Dataset.from_tensors(number).get_single_element()

    list(tf.data.Dataset.range(4).map(nested, num_parallel_calls=2))
else:
    from pathlib import Path
    from frcnn_core.data.augment import Augmentation
    from frcnn_core.data.bad_images import BadImages
    from frcnn_core.data.classes import ClassMap
    from frcnn_core.data.pipeline import training_batches
    from frcnn_core.data.sources import Source
    from frcnn_core.data.preprocessing import Preprocessing

    folder = Path(sys.argv[2])
    bad = BadImages(3)
    for epoch in range(2):
        for batch in training_batches(
            [Source((folder / "records-00000-of-00001",), folder, "png")],
            ClassMap.of({"car": "car"}),
            Preprocessing(20, 30),
            Augmentation(0.5, zoom_min=0.8, color_shift_stddev=0.1),
            batch_size=2, max_objects=9, seed=1, epoch=epoch, bad_images=bad,
        ):
            pass
    assert len(bad.reasons) == 3
"""


@pytest.mark.slow
def test_images_are_decoded_in_parallel_where_results_have_to_be_the_same(plain_source):
    """As ``frcnn train`` does it on a CPU.  TensorFlow quietly rewrites a parallel map that it
    takes for random to one that goes step by step; that only shows in a complaint it logs."""

    def complaints(*arguments):
        command = [sys.executable, "-c", DETERMINISTIC, *map(str, arguments)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return re.findall("{{node ParallelMapDataset", run.stderr)

    spoilt(plain_source)
    if not complaints("control"):
        pytest.skip("this TensorFlow does not tell")
    assert not complaints("pipeline", plain_source.images)


# --- what an image is


@pytest.mark.slow
def test_an_image_that_is_not_augmented_is_what_preprocessing_makes_of_it(plain_source):
    preprocessing = Preprocessing(
        17, 23, channel_order="bgr", means=(123.68, 116.8, 103.9), scale=58.4
    )
    training = images_by_name(epoch_of(plain_source, preprocessing=preprocessing))
    evaluation = images_by_name(
        evaluation_batches([plain_source], CLASSES, preprocessing, batch_size=2)
    )
    assert len(training) == 7
    for name, image in training.items():
        fitted = preprocessing.fit(preprocessing.decode(tf.io.read_file(name)))
        np.testing.assert_array_equal(image, preprocessing.normalize(fitted.image))
        np.testing.assert_array_equal(image, evaluation[name])


@pytest.mark.slow
def test_shapes_are_static_but_for_the_images_and_boxes_of_a_batch(plain_source):
    spec = epoch_of(plain_source).element_spec
    assert spec.images.shape.as_list() == [None, 20, 30, 3]
    assert spec.boxes.shape.as_list() == [None, None, 4]
    assert (spec.classes.dtype, spec.difficult.dtype) == (tf.int32, tf.bool)


@pytest.mark.slow
def test_images_of_a_dynamic_shape_are_padded_to_the_largest_of_the_batch(make_source):
    source = make_source({"wide": (20, 40, []), "tall": (30, 20, [])})
    dynamic = Preprocessing(0, 0, min_side=10, max_side=100)
    (batch,) = evaluation_batches([source], CLASSES, dynamic, batch_size=2)
    assert batch.images.shape == (2, 16, 32, 3)  # whole cells of the feature map
    assert batch.sizes.numpy().tolist() == [[10, 20], [15, 10]]
    assert not batch.images[0, 10:].numpy().any()


# --- what an object is


@pytest.mark.slow
def test_boxes_follow_the_stretch_unrounded(make_source):
    source = make_source({"a": (40, 80, [labelled("car", 10, 20, 30.5, 60)])})
    boxes, classes, batch = only_image(source, Preprocessing(20, 20))
    assert boxes == [[5, 5, 15.25, 15]]
    assert classes == [0]
    assert batch.scales.numpy().tolist() == [[0.5, 0.25]]


@pytest.mark.slow
def test_labels_become_class_ids_and_others_are_dropped(make_source):
    objects = [labelled(name, 1, 1, 9, 9) for name in ("person", "dontcare", "car")]
    _, classes, _ = only_image(make_source({"a": (20, 30, objects)}))
    assert classes == [1, 0]


@pytest.mark.slow
def test_occluded_objects_are_difficult(make_source):
    objects = [labelled("car", 1, 1, 9, 9, occlusion) for occlusion in (0, 1, 2)]
    _, _, batch = only_image(make_source({"a": (20, 30, objects)}))
    assert batch.difficult.numpy().tolist() == [[False, True, True]]


@pytest.mark.slow
def test_crowds_are_left_out_of_training_and_difficult_in_evaluation(make_source):
    crowd = Object("person", 0, 0, 30, 20, crowd=True)
    source = make_source({"a": (20, 30, [crowd, labelled("car", 1, 1, 9, 9)])})
    _, classes, _ = only_image(source)
    assert classes == [0]
    (batch,) = evaluation_batches([source], CLASSES, SAME_SIZE, batch_size=1)
    assert batch.classes.numpy().tolist() == [[1, 0]]
    assert batch.difficult.numpy().tolist() == [[True, False]]


@pytest.mark.slow
def test_boxes_below_one_network_pixel_are_dropped(make_source):
    objects = [labelled("car", 0, 0, 2, 9), labelled("car", 0, 0, 1.9, 9)]
    boxes, _, _ = only_image(make_source({"a": (20, 30, objects)}), Preprocessing(10, 30))
    assert boxes == [[0, 0, 1, 9]]


@pytest.mark.slow
def test_boxes_below_the_smallest_size_asked_for_are_dropped(make_source):
    objects = [
        labelled("car", 0, 0, 5, 8),
        labelled("car", 0, 0, 5, 7),
        labelled("car", 0, 0, 4, 8),
    ]
    boxes, _, _ = only_image(make_source({"a": (20, 30, objects)}), min_box_size=(5, 8))
    assert boxes == [[0, 0, 5, 8]]


@pytest.mark.slow
def test_boxes_end_at_the_border_of_the_image(make_source):
    boxes, _, _ = only_image(make_source({"a": (20, 30, [labelled("car", -5, 10, 25, 99)])}))
    assert boxes == [[0, 10, 20, 30]]


@pytest.mark.slow
def test_objects_in_the_part_that_is_cut_off_are_dropped(make_source):
    objects = [labelled("car", 2, 2, 30, 9), labelled("car", 21, 2, 30, 9)]
    boxes, _, _ = only_image(
        make_source({"a": (40, 20, objects)}), Preprocessing(20, 30, resize=False)
    )
    assert boxes == [[2, 2, 20, 9]]


@pytest.mark.slow
def test_the_largest_objects_are_kept_in_their_order_when_there_are_too_many(make_source):
    objects = [labelled("car", 0, 0, side, side) for side in (5, 3, 9, 4)]
    boxes, _, _ = only_image(make_source({"a": (20, 30, objects)}), max_objects=2)
    assert [box[2] for box in boxes] == [5, 9]


@pytest.mark.slow
def test_evaluation_keeps_all_objects(make_source):
    source = make_source({"a": (20, 30, [labelled("car", 0, 0, 9, 9)] * 150)})
    (batch,) = evaluation_batches([source], CLASSES, SAME_SIZE, batch_size=1)
    assert int(tf.reduce_sum(batch.classes + 1)) == 150


@pytest.mark.slow
def test_an_image_without_objects_stays_and_gets_a_row_of_padding(make_source):
    boxes, classes, batch = only_image(make_source({"a": (20, 30, [])}))
    assert (boxes, classes) == ([[0, 0, 0, 0]], [-1])
    assert batch.difficult.numpy().tolist() == [[False]]


@pytest.mark.slow
def test_images_are_padded_to_the_most_objects_of_the_batch(make_source):
    car = labelled("car", 0, 0, 9, 9)
    source = make_source({"one": (20, 30, [car]), "three": (20, 30, [car] * 3)})
    (batch,) = evaluation_batches([source], CLASSES, SAME_SIZE, batch_size=2)
    assert batch.classes.numpy().tolist() == [[0, -1, -1], [0, 0, 0]]
    assert batch.boxes[0, 1:].numpy().tolist() == [[0, 0, 0, 0]] * 2


@pytest.mark.slow
def test_boxes_move_with_a_flipped_image(make_source):
    source = make_source({"a": (20, 30, [labelled("car", 1, 2, 5, 9)])})
    boxes, _, batch = only_image(source, augmentation=Augmentation(hflip_probability=1.0))
    _, _, upright = only_image(source)
    assert boxes == [[1, 21, 5, 28]]
    np.testing.assert_array_equal(batch.images, upright.images[:, :, ::-1])


@pytest.mark.slow
def test_a_padded_image_keeps_its_place_when_it_is_flipped(make_source):
    source = make_source({"a": (10, 10, [labelled("car", 1, 2, 5, 9)])})
    padded = Preprocessing(20, 30, resize=False)
    boxes, _, batch = only_image(source, padded, augmentation=Augmentation(hflip_probability=1.0))
    assert boxes == [[1, 1, 5, 8]]
    assert batch.sizes.numpy().tolist() == [[10, 10]]
    assert not batch.images[0, :, 10:].numpy().any()


# --- the whole of it


@pytest.mark.slow
@pytest.mark.skipif(not BCCD.is_dir(), reason=f"no blood-cell set at {BCCD}; set FRCNN_BCCD")
def test_photographs_reach_the_network_with_their_cells(tmp_path):
    from frcnn_core.data import kitti

    names = [Path(name).stem for name in (BCCD / "trainval.txt").read_text().split()[:4]]
    labels = {name: kitti.read(BCCD / "label_2" / f"{name}.txt") for name in names}
    with tf.io.TFRecordWriter(str(tmp_path / "cells")) as writer:
        for name, objects in labels.items():
            record = records.Record(f"image_2/{name}", 480, 640, tuple(objects))
            writer.write(records.to_example(record))
    source = Source((tmp_path / "cells",), BCCD, "jpg")
    cells = ClassMap.of({"RBC": "RBC", "WBC": "WBC", "Platelets": "Platelets"})

    (batch,) = evaluation_batches([source], cells, Preprocessing(240, 320), batch_size=4)

    assert stems([batch]) == names
    for row, objects in enumerate(labels.values()):
        assert int(tf.reduce_sum(tf.cast(batch.classes[row] >= 0, tf.int32))) == len(objects)
        expected = [[item.y1 / 2, item.x1 / 2, item.y2 / 2, item.x2 / 2] for item in objects]
        np.testing.assert_array_equal(batch.boxes[row, : len(objects)], np.clip(expected, 0, 320))


@pytest.mark.slow
def test_no_pass_waits_for_tf_datas_search_for_better_numbers(plain_source):
    """Its thread is waited for when an iterator is dropped, and sleeps for up to a minute."""
    assert epoch_of(plain_source).dataset.options().autotune.enabled is False
