"""Training and evaluation straight from a folder of images and labels."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
import toy
from PIL import Image
from toy import run

from frcnn_core import assemble
from frcnn_core.data import kitti, records
from frcnn_core.data.conversion import convert
from frcnn_core.errors import DataError
from frcnn_core.model_files import archive
from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.load import loads, loads_dataset_spec
from frcnn_core.training import Interrupted

CAR = "Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def folder(tmp_path):
    """Ten images a to j of 8 x 6 pixels, with a car each."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "abcdefghij":
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "labels" / f"{name}.txt").write_text(CAR)
    return tmp_path


def source(folder, more=""):
    return (
        f'image_directory_path: "{folder}/images" '
        f'labels {{ path: "{folder}/labels" format: "kitti" }} {more}'
    )


def dataset(*sources, more=""):
    blocks = " ".join(f"data_sources {{ {one} }}" for one in sources)
    mapping = 'target_class_mapping { key: "car" value: "car" }'
    return loads(f"dataset_config {{ {blocks} {mapping} {more} }}", "spec.txt")


def read(files):
    """The records of some files, in order."""
    return [
        records.from_example(serialized)
        for path in files
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def converted(folder):
    """The record files of ``folder`` as dataset_convert writes them by default."""
    text = f'source {{ root_directory_path: "{folder}" images: "images" labels: "labels" }}'
    message = loads_dataset_spec(text).message
    plan = assemble.conversion_plan(message, installed(), folder / "records" / "set")
    return convert(plan).records


@pytest.mark.slow
def test_records_are_those_of_dataset_convert_but_for_the_folder_in_frame_ids(folder):
    (training,), (validation,) = assemble.sources(
        dataset(source(folder), more="validation_fold: 0")
    )
    expected = converted(folder)
    for found, fold in ((validation, "fold-000"), (training, "fold-001")):
        theirs = [path for path in expected if fold in path.name]
        assert [path.name.replace("records", "set") for path in found.records] == [
            path.name for path in theirs
        ]
        ours = [replace(one, frame_id=f"images/{one.frame_id}") for one in read(found.records)]
        assert ours == read(theirs)


@pytest.mark.slow
def test_image_paths_are_those_on_disk(folder):
    (found,), _ = assemble.sources(dataset(source(folder)))
    paths = {found.image_path(one.frame_id, one.extension) for one in read(found.records)}
    assert paths == {str(path) for path in (folder / "images").iterdir()}


def test_a_list_restricts_a_source_and_a_weight_is_passed_on(folder):
    (folder / "list.txt").write_text("c\ng.jpg\n")
    text = source(folder, f'image_list: "{folder}/list.txt" source_weight: 2')
    first, second = assemble.sources(dataset(text, source(folder, "source_weight: 0")))[0]
    assert sorted(one.frame_id for one in read(first.records)) == ["c", "g"]
    assert (first.weight, second.weight) == (2.0, 1.0)


@pytest.mark.slow
def test_validation_may_have_labels_of_its_own_and_reads_no_others(folder, tmp_path_factory):
    spec = dataset(
        source(tmp_path_factory.mktemp("nothing")),
        more=f"validation_data_source {{ {source(folder)} }}",
    )
    data = assemble.evaluation_set(spec)
    assert (data.summary.count, data.summary.objects) == (10, {"car": 10})


@pytest.mark.slow
def test_bad_images_are_all_told_and_allowed_up_to_a_limit(folder, caplog):
    (folder / "images" / "a.jpg").write_bytes(b"no image")
    (folder / "labels" / "b.txt").write_text(CAR + "Car 0\n")
    spec = dataset(source(folder))
    with pytest.raises(DataError) as caught:
        assemble.sources(spec, max_bad=1)
    for part in ("a.jpg: not a PNG or JPEG", "b.txt:2: 2 fields", "with 2 image(s), and --max-bad"):
        assert part in str(caught.value)
    (found,), _ = assemble.sources(spec, max_bad=2)
    assert sorted(one.frame_id for one in read(found.records)) == list("cdefghij")
    assert "Left out: " in caplog.text


def test_a_box_without_area_is_told(folder, caplog):
    (folder / "labels" / "a.txt").write_text(CAR.replace("1 2 3 4", "1 2 1 4"))
    assemble.sources(dataset(source(folder)))
    assert f"1 box(es) without width or height are left out, the first is {folder}" in caplog.text


def test_a_fold_without_images_is_an_error(folder):
    (folder / "list.txt").write_text("a\nb\n")
    text = source(folder, f'image_list: "{folder}/list.txt"')
    with pytest.raises(DataError, match="no image in fold 0"):
        assemble.sources(dataset(text, more="validation_fold: 0"))


def test_progress_is_shown_under_the_name_of_the_folder(folder):
    from contextlib import contextmanager

    shown = []

    @contextmanager
    def progress(title):
        yield lambda done, total: shown.append((title, done, total))

    assemble.sources(dataset(source(folder)), progress=progress)
    assert shown == [(f"Reading {folder}/images", number, 10) for number in range(1, 11)]


def test_an_error_leaves_no_folder_behind(folder, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (folder / "labels" / "b.txt").write_text("Car 0\n")
    with pytest.raises(DataError):
        assemble.sources(dataset(source(folder)))
    assert list(temporary.iterdir()) == []


@pytest.mark.slow  # a fresh Python, which loads TensorFlow
@pytest.mark.parametrize("end", ["pass", "raise ValueError('something else')"])
def test_the_folder_is_there_while_python_runs_and_gone_after(folder, tmp_path, end):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    spec = tmp_path / "spec.txt"
    spec.write_text(f"dataset_config {{ data_sources {{ {source(folder)} }} }}")
    program = (
        "from frcnn_core import assemble\n"
        "from frcnn_core.spec.load import load\n"
        f"(found,), _ = assemble.sources(load({str(spec)!r}))\n"
        "print(sum(path.is_file() for path in found.records))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program + end],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    )
    assert int(result.stdout.splitlines()[-1]) > 0, result.stderr
    assert (result.returncode == 0) == (end == "pass")
    assert list(temporary.iterdir()) == []


# --- whole trainings


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Fifteen scenes as images, KITTI labels and records of dataset_convert."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 15, seed=0, empty=1)
    (folder / "labels").mkdir()
    for record in read([folder / "train"]):
        path = folder / "labels" / f"{Path(record.frame_id).name}.txt"
        path.write_text(kitti.format_text(record.objects, exact=True))
    converted(folder)
    return folder


def training(folder, results, *, direct, **given):
    """Two epochs, of which the last one is validated."""
    records_of = f'tfrecords_path: "{folder}/train" image_directory_path: "{folder}"'
    text = toy.spec_text(folder, validation="validation_fold: 0", epochs=2, period=2, **given)
    assert records_of in text
    ours = source(folder) if direct else records_of.replace("/train", "/records/set*")
    return assemble.training(
        loads(text.replace(records_of, ours), "spec.txt"), toy.plugins(), results_dir=results
    )


@pytest.fixture(scope="module")
def from_folder(scenes, tmp_path_factory):
    """A whole training on the folder, and its events."""
    made = training(scenes, tmp_path_factory.mktemp("whole"), direct=True)
    return made, run(made)


def state(made):
    """Everything that training changes, as bytes."""
    return {
        name: value.tobytes() for name, value in made.trainer.model.to_archive().weights.items()
    }


@pytest.mark.slow
def test_training_on_a_folder_is_training_on_its_records_to_the_last_bit(
    scenes, tmp_path, from_folder
):
    from_folder, events = from_folder
    from_records = training(scenes, tmp_path / "records", direct=False)
    assert from_folder.data == from_records.data
    assert from_folder.validation.summary == from_records.validation.summary
    events = [run(from_records)[-1], events[-1]]
    assert state(from_folder) == state(from_records)
    first, second = (event.validation.results for event in events)
    assert {name: result.values for name, result in first.items()} == {
        name: result.values for name, result in second.items()
    }


@pytest.mark.slow
def test_a_training_on_a_folder_is_resumed_to_the_last_bit_and_remembers_no_temporary_path(
    scenes, tmp_path, from_folder, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    whole, _ = from_folder
    stopped = training(scenes, tmp_path / "stopped", direct=True)
    event = run(stopped, (1, 2))[-1]
    assert isinstance(event, Interrupted)
    content = archive.read(event.checkpoint, "")
    assert "elsewhere" not in str(replace(content, weights={}, optimizer={}))
    goes_on = f'resume_from_model: "{event.checkpoint}"'
    resumed = training(scenes, tmp_path / "stopped", direct=True, training=goes_on)
    run(resumed, stop_at=(2, resumed.trainer.steps_per_epoch))  # what is left is a validation
    assert state(resumed) == state(whole)
