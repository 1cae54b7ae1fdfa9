import json
from dataclasses import replace

import pytest
import tensorflow as tf
from PIL import Image

from frcnn_core.builtin.label_formats import Kitti
from frcnn_core.data import records
from frcnn_core.data.conversion import ConversionPlan, convert, existing_records, file_name
from frcnn_core.data.folders import LabelledFolder
from frcnn_core.data.labels import Labels, LabelSet, Object
from frcnn_core.data.sample_modifier import SampleModifier
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.plugin.components import NoOptions

CAR = "Car 0 0 0 1.25 2 3 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def plan(tmp_path) -> ConversionPlan:
    """Five images a to e of 8 x 6 pixels with a car each; c has no objects."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "abcde":
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("" if name == "c" else CAR)
    return kitti(ConversionPlan((), output=tmp_path / "out" / "set", mode="random"), tmp_path)


def kitti(plan, root) -> ConversionPlan:
    """The plan for the images and KITTI labels that are in ``root`` now."""
    labels = Kitti().open(root / "labels", NoOptions())
    return replace(plan, folders=(LabelledFolder(root, "images", labels, ".png"),))


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
    convert(replace(plan, val_fraction=0, num_shards=(2,)))
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
    convert(replace(plan, num_shards=(3,)))
    assert [name for name in written(plan) if "fold-000" in name] == [
        "-fold-000-of-002-shard-00000-of-00001"
    ]


def test_each_file_begins_with_an_image_that_has_objects(plan, tmp_path):
    for name in "bde":
        (tmp_path / "labels" / f"{name}.txt").write_text("")
    (tmp_path / "labels" / "c.txt").write_text(CAR)
    convert(plan)
    assert frames(plan.output.with_name("set-fold-001-of-002"))[0] == "images/c"


def test_converting_twice_gives_the_same_bytes(plan):
    again = replace(plan, output=plan.output.with_name("again"))
    for first, second in zip(convert(plan).files, convert(again).files, strict=True):
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_the_shuffled_split_deals_names_that_are_not_the_first(plan):
    chosen = set()
    for seed in range(8):
        output = plan.output.with_name(f"seed{seed}")
        convert(replace(plan, mode="shuffled", seed=seed, output=output))
        chosen |= set(frames(output.with_name(f"seed{seed}-fold-000-of-002")))
    assert len(chosen) > 1


def test_sequences_are_kept_together(plan, tmp_path):
    path = tmp_path / "frames.json"
    path.write_text(json.dumps({"0001": ["a", "b", "c"], "0002": ["d", "e"]}))
    convert(replace(plan, mode="sequence", sequences=path))
    assert written(plan) == {
        "-fold-000-of-002": ["images/d", "images/e"],
        "-fold-001-of-002": ["images/a", "images/b", "images/c"],
    }


def test_a_frame_of_a_sequence_without_image_is_an_error(plan, tmp_path):
    path = tmp_path / "frames.json"
    path.write_text(json.dumps({"0001": ["a", "lost"]}))
    with pytest.raises(DataError, match=r"frames\.json: frame 'lost' has no image"):
        convert(replace(plan, mode="sequence", sequences=path))


def test_bad_labels_and_images_are_reported_together_and_nothing_is_written(plan, tmp_path):
    (tmp_path / "labels" / "a.txt").write_text(CAR + "Car 0\n")
    (tmp_path / "labels" / "b.txt").unlink()
    (tmp_path / "images" / "d.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        convert(kitti(plan, tmp_path))
    message = str(caught.value)
    assert "labels/a.txt:2: 2 fields" in message
    assert "labels/b.txt: there is no such label file" in message
    assert "images/d.png: not a PNG or JPEG file" in message
    assert "3 problem(s); nothing was written" in message
    assert not plan.output.parent.exists()


def test_skipping_bad_images_lists_them_and_converts_the_others(plan, tmp_path):
    (tmp_path / "labels" / "b.txt").write_text(CAR + "Car 0\n")
    report = convert(plan, skip_bad=True)
    assert written(plan)["-fold-001-of-002"] == ["images/c", "images/d", "images/e"]
    assert [message.partition(": ")[0] for message in report.left_out] == [
        f"{tmp_path}/labels/b.txt:2"
    ]


def test_skipping_every_image_is_an_error(plan, tmp_path):
    for path in (tmp_path / "labels").iterdir():
        path.write_text("Car 0\n")
    with pytest.raises(DataError, match="No image is left"):
        convert(plan, skip_bad=True)


def test_a_label_folder_that_fits_no_image_is_one_error_and_not_one_for_each(plan, tmp_path):
    for path in (tmp_path / "labels").iterdir():
        path.rename(path.with_name(f"label_{path.name}"))
    with pytest.raises(DataError, match="not one of the 5 images has a label file"):
        convert(kitti(plan, tmp_path), skip_bad=True)


def test_a_box_without_area_is_left_out_and_listed_as_in_the_original(plan, tmp_path):
    line = CAR.replace("1.25 2 3 4", "3 2 3 4")
    (tmp_path / "labels" / "a.txt").write_text(CAR + line)
    report = convert(plan)
    assert report.objects[0] == {"car": 1}
    path = plan.output.with_name("set_warning.json")
    assert json.loads(path.read_text()) == {f"{tmp_path}/labels/a.txt_1": [3, 2, 3, 4]}


def test_a_box_thinner_than_a_pixel_stays(plan, tmp_path):
    (tmp_path / "labels" / "a.txt").write_text(CAR.replace("1.25 2 3 4", "1.25 2 1.75 4"))
    report = convert(plan)
    assert report.objects[0] == {"car": 1}
    assert not report.without_area


def test_earlier_records_are_not_overwritten_unless_asked(plan, tmp_path):
    convert(plan)
    before = {path: path.read_bytes() for path in plan.output.parent.iterdir()}
    (tmp_path / "labels" / "a.txt").write_text(CAR + CAR)
    with pytest.raises(FrcnnError, match=r"2 file\(s\) of an earlier conversion"):
        convert(plan)
    assert {path: path.read_bytes() for path in plan.output.parent.iterdir()} == before
    assert convert(plan, overwrite=True).objects[0] == {"car": 2}


def test_overwriting_removes_the_earlier_records_and_nothing_else(plan):
    convert(replace(plan, num_shards=(2,)))
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


# --- several partitions with labels of their own, and lists of names


class Given(LabelSet):
    """Labels from a dictionary: image name -> what is said of it."""

    lists_images = True

    def __init__(self, labels):
        self._labels = labels

    @property
    def names(self):
        return self._labels.keys()

    def read(self, name, size):
        return self._labels[name]

    def place(self, name):
        return f"labels.json: {name}"


def labelled(*objects, size=None) -> Labels:
    return Labels(objects, tuple("?" for _ in objects), size)


BUS = Object("big bus", x1=1, y1=2, x2=3, y2=4)
CROWD = Object("person", x1=0, y1=0, x2=8, y2=6, crowd=True)


@pytest.fixture
def two_folders(tmp_path) -> ConversionPlan:
    """Folders val of images 0 to 2 and train of images 3 to 19, each with labels of its own."""
    folders = []
    for name, numbers in (("val", range(3)), ("train", range(3, 20))):
        (tmp_path / name).mkdir()
        for number in numbers:
            Image.new("RGB", (8, 6)).save(tmp_path / name / f"{number:02}.png")
        labels = Given({f"{number:02}": labelled(BUS, CROWD) for number in numbers})
        folders.append(LabelledFolder(tmp_path, name, labels))
    return ConversionPlan(tuple(folders), tmp_path / "out" / "set", mode="folders")


def test_each_folder_is_a_partition(two_folders):
    report = convert(two_folders)
    assert report.num_images == {0: 3, 1: 17}
    assert written(two_folders) == {
        "-fold-000-of-002": [f"val/{number:02}" for number in range(3)],
        "-fold-001-of-002": [f"train/{number:02}" for number in range(3, 20)],
    }


def test_images_of_a_folder_are_in_random_order(two_folders):
    convert(two_folders)
    found = frames(two_folders.output.with_name("set-fold-001-of-002"))
    assert found != sorted(found)


def test_crowds_and_class_names_of_two_words_are_kept(two_folders):
    convert(two_folders)
    path = two_folders.output.with_name("set-fold-000-of-002")
    serialized = next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert records.from_example(serialized).objects == (BUS, CROWD)


@pytest.mark.slow
def test_partitions_may_have_different_numbers_of_files(two_folders):
    convert(replace(two_folders, num_shards=(1, 4)))
    assert len([name for name in written(two_folders) if "fold-000" in name]) == 1
    assert len([name for name in written(two_folders) if "fold-001" in name]) == 4


def test_an_image_in_two_partitions_is_an_error(two_folders):
    first, _ = two_folders.folders
    both = Given({"00": labelled(BUS), "01": labelled(BUS)})
    plan = replace(two_folders, folders=(first, replace(first, labels=both)))
    with pytest.raises(DataError, match=r"val/00\.png: is in partition 0 and in partition 1"):
        convert(plan)


def test_a_list_is_a_partition_and_the_first_is_for_validation(plan, tmp_path):
    (tmp_path / "test.txt").write_text("b\nd.png\n")
    (tmp_path / "train.txt").write_text("\na\n")
    lists = (tmp_path / "test.txt", tmp_path / "train.txt")
    convert(replace(plan, mode="lists", lists=lists))
    assert written(plan) == {
        "-fold-000-of-002": ["images/b", "images/d"],
        "-fold-001-of-002": ["images/a"],
    }


def test_a_listed_name_without_image_and_one_in_two_lists_are_told_together(plan, tmp_path):
    (tmp_path / "test.txt").write_text("a\nlost\n")
    (tmp_path / "train.txt").write_text("a\n")
    lists = (tmp_path / "test.txt", tmp_path / "train.txt")
    with pytest.raises(DataError) as caught:
        convert(replace(plan, mode="lists", lists=lists))
    assert "test.txt:2: 'lost' has no image" in str(caught.value)
    assert "a.png: is in partition 0 and in partition 1" in str(caught.value)


# --- what records say of the files


def test_records_name_the_endings_of_a_set_that_mixes_them(plan, tmp_path):
    for name, ending in (("b", ".PNG"), ("d", ".jpg")):
        path = tmp_path / "images" / f"{name}.png"
        Image.open(path).save(path.with_suffix(ending))
        path.unlink()
    folder = replace(plan.folders[0], extension=None)
    report = convert(replace(plan, folders=(folder,), val_fraction=0))
    found = {
        record.frame_id: record.extension
        for path in report.records
        for record in map(
            records.from_example, tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        )
    }
    assert found == {
        "images/a": ".png",
        "images/b": ".PNG",
        "images/c": ".png",
        "images/d": ".jpg",
        "images/e": ".png",
    }
    assert report.extension == ""


def test_records_of_a_plain_set_have_no_feature_that_tlt_does_not_know(plan):
    report = convert(plan)
    (serialized,) = tf.data.TFRecordDataset(str(report.records[0])).as_numpy_iterator()
    assert records.FRAME_EXTENSION.encode() not in serialized
    assert report.extension == ".png"


def test_an_image_in_a_folder_below_is_named_by_its_path(plan, tmp_path):
    for folder, ending in (("images", ".png"), ("labels", ".txt")):
        (tmp_path / folder / "night").mkdir()
        (tmp_path / folder / f"a{ending}").rename(tmp_path / folder / "night" / f"a{ending}")
    convert(kitti(plan, tmp_path))
    assert written(plan)["-fold-001-of-002"][-1] == "images/night/a"


@pytest.mark.slow
def test_a_wrong_size_in_the_labels_is_an_error_with_both_sizes(two_folders):
    first, second = two_folders.folders
    labels = Given({"00": labelled(BUS, size=(8, 6))})
    plan = replace(two_folders, folders=(replace(first, labels=labels), second))
    with pytest.raises(DataError, match=r"json: 00: says .* 8 x 6 .*/val/00\.png is 6 x 8"):
        convert(plan)
