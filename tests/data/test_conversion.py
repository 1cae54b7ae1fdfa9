import json
from dataclasses import replace

import pytest
import tensorflow as tf
from PIL import Image

from frcnn_core.data import records
from frcnn_core.data.conversion import ConversionPlan, convert, existing_records, file_name
from frcnn_core.data.sample_modifier import SampleModifier
from frcnn_core.errors import DataError, FrcnnError

CAR = "Car 0 0 0 1.25 2 3 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def plan(tmp_path) -> ConversionPlan:
    """Five images a to e of 8 x 6 pixels with a car each; c has no objects."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "abcde":
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("" if name == "c" else CAR)
    return ConversionPlan(
        root=tmp_path,
        images="images",
        labels="labels",
        output=tmp_path / "out" / "set",
        mode="random",
    )


def frames(path) -> list[str]:
    serialized = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [records.from_example(data).frame_id for data in serialized]


def written(plan) -> dict[str, list[str]]:
    """File name without the output's -> frames in it, sorted."""
    start = len(plan.output.name)
    paths = sorted(plan.output.parent.iterdir())
    return {path.name[start:]: sorted(frames(path)) for path in paths if path.suffix != ".json"}


@pytest.mark.parametrize(
    ("shard", "num_shards", "name"),
    [
        (0, 0, "set-fold-001-of-002"),
        (0, 1, "set-fold-001-of-002-shard-00000-of-00001"),
        (3, 10, "set-fold-001-of-002-shard-00003-of-00010"),
    ],
)
def test_files_are_named_as_by_the_original(shard, num_shards, name):
    assert file_name("set", 1, 2, shard, num_shards) == name


def test_the_first_sorted_names_are_for_validation_in_fold_0(plan):
    report = convert(plan)
    assert written(plan) == {
        "-fold-000-of-002": ["images/a"],
        "-fold-001-of-002": ["images/b", "images/c", "images/d", "images/e"],
    }
    assert report.num_images == {0: 1, 1: 4}
    assert report.objects == {0: {"car": 1}, 1: {"car": 3}}
    assert list(report.files) == sorted(plan.output.parent.iterdir())


def test_a_record_holds_the_size_of_the_image_and_unrounded_boxes(plan):
    convert(plan)
    path = plan.output.with_name("set-fold-000-of-002")
    (serialized,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    record = records.from_example(serialized)
    assert (record.height, record.width) == (6, 8)
    assert (record.objects[0].class_name, record.objects[0].x1) == ("car", 1.25)


def test_the_last_shard_takes_what_is_left_over(plan):
    convert(replace(plan, val_fraction=0, num_shards=2))
    sizes = {name: len(frames) for name, frames in written(plan).items()}
    assert sizes == {
        "-fold-001-of-002-shard-00000-of-00002": 2,
        "-fold-001-of-002-shard-00001-of-00002": 3,
    }


def test_a_fold_without_images_has_no_file_and_does_not_renumber_the_others(plan):
    report = convert(replace(plan, val_fraction=0))
    assert list(written(plan)) == ["-fold-001-of-002"]
    assert report.num_images == {0: 0, 1: 5}


def test_a_fold_of_fewer_images_than_shards_makes_fewer_shards(plan):
    convert(replace(plan, num_shards=3))
    assert [name for name in written(plan) if "fold-000" in name] == [
        "-fold-000-of-002-shard-00000-of-00001"
    ]


def test_each_file_begins_with_an_image_that_has_objects(plan):
    for name in "bde":
        (plan.root / "labels" / f"{name}.txt").write_text("")
    (plan.root / "labels" / "c.txt").write_text(CAR)
    convert(plan)
    assert frames(plan.output.with_name("set-fold-001-of-002"))[0] == "images/c"


def test_converting_twice_gives_the_same_bytes(plan):
    again = replace(plan, output=plan.output.with_name("again"))
    for first, second in zip(convert(plan).files, convert(again).files, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_the_shuffled_split_deals_names_that_are_not_the_first(plan):
    chosen = set()
    for seed in range(8):
        output = plan.output.with_name(f"seed{seed}")
        convert(replace(plan, mode="shuffled", seed=seed, output=output))
        chosen |= set(frames(output.with_name(f"seed{seed}-fold-000-of-002")))
    assert len(chosen) > 1


def test_sequences_are_kept_together(plan):
    path = plan.root / "frames.json"
    path.write_text(json.dumps({"0001": ["a", "b", "c"], "0002": ["d", "e"]}))
    convert(replace(plan, mode="sequence", sequences=path))
    assert written(plan) == {
        "-fold-000-of-002": ["images/d", "images/e"],
        "-fold-001-of-002": ["images/a", "images/b", "images/c"],
    }


def test_a_frame_of_a_sequence_without_image_is_an_error(plan):
    path = plan.root / "frames.json"
    path.write_text(json.dumps({"0001": ["a", "lost"]}))
    with pytest.raises(DataError, match=r"frames\.json: frame 'lost' has no image"):
        convert(replace(plan, mode="sequence", sequences=path))


def test_bad_labels_and_images_are_reported_together_and_nothing_is_written(plan):
    (plan.root / "labels" / "a.txt").write_text(CAR + "Car 0\n")
    (plan.root / "labels" / "b.txt").unlink()
    (plan.root / "images" / "d.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        convert(plan)
    message = str(caught.value)
    assert "labels/a.txt:2: 2 fields" in message
    assert "labels/b.txt: there is no such label file" in message
    assert "images/d.png: not a PNG or JPEG file" in message
    assert "3 problem(s); nothing was written" in message
    assert not plan.output.parent.exists()


def test_skipping_bad_images_lists_them_and_converts_the_others(plan):
    (plan.root / "labels" / "b.txt").write_text(CAR + "Car 0\n")
    report = convert(plan, skip_bad=True)
    assert written(plan)["-fold-001-of-002"] == ["images/c", "images/d", "images/e"]
    assert [message.partition(": ")[0] for message in report.left_out] == [
        f"{plan.root}/labels/b.txt:2"
    ]


def test_skipping_every_image_is_an_error(plan):
    for path in (plan.root / "labels").iterdir():
        path.write_text("Car 0\n")
    with pytest.raises(DataError, match="No image is left"):
        convert(plan, skip_bad=True)


def test_a_label_folder_that_fits_no_image_is_one_error_and_not_one_for_each(plan):
    for path in (plan.root / "labels").iterdir():
        path.rename(path.with_name(f"label_{path.name}"))
    with pytest.raises(DataError, match="not one of the 5 images has a label file"):
        convert(plan, skip_bad=True)


def test_a_box_without_area_is_left_out_and_listed_as_in_the_original(plan):
    line = CAR.replace("1.25 2 3 4", "3 2 3 4")
    (plan.root / "labels" / "a.txt").write_text(CAR + line)
    report = convert(plan)
    assert report.objects[0] == {"car": 1}
    path = plan.output.with_name("set_warning.json")
    assert json.loads(path.read_text()) == {f"{plan.root}/labels/a.txt_1": [3, 2, 3, 4]}


def test_a_box_thinner_than_a_pixel_stays(plan):
    (plan.root / "labels" / "a.txt").write_text(CAR.replace("1.25 2 3 4", "1.25 2 1.75 4"))
    report = convert(plan)
    assert report.objects[0] == {"car": 1}
    assert not report.without_area


def test_earlier_records_are_not_overwritten_unless_asked(plan):
    convert(plan)
    before = {path: path.read_bytes() for path in plan.output.parent.iterdir()}
    (plan.root / "labels" / "a.txt").write_text(CAR + CAR)
    with pytest.raises(FrcnnError, match=r"2 file\(s\) of an earlier conversion"):
        convert(plan)
    assert {path: path.read_bytes() for path in plan.output.parent.iterdir()} == before
    assert convert(plan, overwrite=True).objects[0] == {"car": 2}


def test_overwriting_removes_the_earlier_records_and_nothing_else(plan):
    convert(replace(plan, num_shards=2))
    neighbours = [
        plan.output.with_name(name) for name in ("set", "set.txt", "set2-fold-000-of-002")
    ]
    for path in neighbours:
        path.touch()
    report = convert(plan, overwrite=True)
    assert sorted(plan.output.parent.iterdir()) == sorted([*neighbours, *report.files])
    assert existing_records(plan.output) == list(report.files)


def test_a_modifier_leaves_the_validation_fold_alone(plan):
    modifier = SampleModifier(filter_samples_containing_only=frozenset({"car"}))
    convert(replace(plan, modifier=modifier, validation_fold=0))
    assert written(plan) == {"-fold-000-of-002": ["images/a"], "-fold-001-of-002": ["images/c"]}


def test_progress_counts_up_to_all_images(plan):
    calls = []
    convert(plan, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_too_few_images_for_validation_is_a_warning(plan, caplog):
    convert(replace(plan, val_fraction=0.1))
    assert "too few images for validation" in caplog.text
