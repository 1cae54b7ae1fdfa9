import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from survey.broken_set import BrokenSet, cars, line, png

from frcnn_core.cli import main

BCCD = Path(os.environ.get("FRCNN_BCCD", Path(__file__).parents[3] / "shared/data/bccd"))


@pytest.fixture
def made(tmp_path):
    return BrokenSet(tmp_path / "set")


def run(made, *flags):
    spec = made.folder / "spec.txt"
    spec.write_text(made.spec)
    return CliRunner().invoke(main, ["dataset", "validate", "-e", str(spec), *map(str, flags)])


def test_a_clean_set_is_counted_and_exits_with_0(made):
    result = run(made)
    assert result.exit_code == 0, result.output
    summary = result.output.splitlines()[-1]
    assert summary == (
        "3 images (training: 2, validation: 1), 30 objects: no errors, no warnings, no notes."
    )


def test_an_error_is_listed_with_its_line_and_exits_with_2(made):
    made.write("labels/train_1.txt", cars() + line(20, 3, 20, 30))
    result = run(made)
    assert result.exit_code == 2
    assert "error: zero-area (1): boxes without width or height" in result.output
    assert "labels/train_1.txt:11: car, box 20 3 20 30: no width." in result.output


def test_warnings_and_notes_exit_with_0_unless_strict(made):
    made.write("labels/train_1.txt", cars(13))
    result = run(made)
    assert result.exit_code == 0, result.output
    assert "warning: too-many-objects" in result.output
    assert run(made, "--strict").exit_code == 2


def test_notes_exit_with_0_even_if_strict(made):
    made.write("images/train_9.png", png(9))
    made.write("labels/train_9.txt", "")
    result = run(made, "--strict")
    assert result.exit_code == 0, result.output
    assert "note: empty-image" in result.output


def test_of_many_findings_the_first_are_listed_and_all_with_all(made):
    made.write("labels/train_1.txt", cars() + line(20, 3, 20, 30) * 8)
    short, full = run(made).output, run(made, "--all").output
    assert short.count("no width") == 5
    assert "and 3 more." in short
    assert full.count("no width") == 8
    assert "more." not in full


def test_json_has_everything_and_only_json_goes_to_stdout(made):
    made.write("labels/train_1.txt", cars() + line(20, 3, 20, 30) * 8)
    result = run(made, "--json", "-")
    assert result.exit_code == 2
    content = json.loads(result.stdout)
    assert content["severities"] == {"error": 8, "warning": 0, "note": 0}
    assert content["counts"] == {"zero-area": 8}
    assert len(content["findings"]) == 8
    assert content["findings"][0] == {
        "code": "zero-area",
        "severity": "error",
        "split": "training",
        "place": str(made.folder / "labels/train_1.txt:11"),
        "image": str(made.folder / "images/train_1.png"),
        "class": "car",
        "box": [20, 3, 20, 30],
        "reason": "no width.",
    }


def test_json_in_a_file_does_not_replace_another_unasked(made, tmp_path):
    file = tmp_path / "report.json"
    assert run(made, "--json", file).exit_code == 0
    assert json.loads(file.read_text())["images"] == {"training": 2, "validation": 1}
    file.write_text("mine")
    again = run(made, "--json", file)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert file.read_text() == "mine"
    assert run(made, "--json", file, "--overwrite").exit_code == 0


def test_one_spec_is_needed_and_not_two(made, tmp_path):
    none = CliRunner().invoke(main, ["dataset", "validate"])
    assert none.exit_code == 2
    assert "-d" in none.output and "-e" in none.output
    spec = made.folder / "spec.txt"
    spec.write_text(made.spec)
    assert run(made, "-d", spec).exit_code == 2


def test_an_experiment_spec_needs_only_what_concerns_data(made):
    made.more_classes = ""
    spec = made.folder / "spec.txt"
    spec.write_text(made.spec.replace("training_config { num_epochs: 1 }", ""))
    result = CliRunner().invoke(main, ["dataset", "validate", "-e", str(spec)])
    assert result.exit_code == 0, result.output


def test_a_spec_that_makes_no_sense_is_refused(made):
    made.preprocessing = "min_bbox_height: -1"
    result = run(made)
    assert result.exit_code == 2
    assert "min_bbox_height" in result.output and "spec.txt:" in result.output


def test_sources_that_cannot_be_opened_are_listed_with_the_rest(made, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    made.more_classes = f"""data_sources {{ image_directory_path: "{empty}"
      labels {{ path: "{made.folder}/labels" format: "kitti" }} }}"""
    made.write("labels/train_1.txt", cars() + line(20, 3, 20, 30))
    result = run(made)
    assert result.exit_code == 2
    assert "error: unusable-source" in result.output
    assert "error: zero-area" in result.output


@pytest.mark.slow
@pytest.mark.skipif(not BCCD.is_dir(), reason=f"no blood-cell set at {BCCD}; set FRCNN_BCCD")
@pytest.mark.parametrize(
    ("format", "labels", "lines"),
    [
        ("kitti", "label_2", ("338.txt:13", "343.txt:4")),
        ("voc", "annotations_voc", ("338.xml", "343.xml")),
    ],
)
def test_of_the_blood_cells_two_boxes_have_no_area_and_nothing_else_is_wrong(
    format, labels, lines, tmp_path
):
    spec = tmp_path / "spec.txt"
    spec.write_text(
        f'source {{ format: "{format}" root_directory_path: "{BCCD}" images: "image_2" '
        f'labels: "{labels}" image_lists: ["test.txt", "trainval.txt"] }}'
    )
    result = CliRunner().invoke(main, ["dataset", "validate", "-d", str(spec), "--json", "-"])
    assert result.exit_code == 2, result.output
    content = json.loads(result.stdout)
    assert content["counts"] == {"zero-area": 2}
    assert content["images"] == {"fold 0": 72, "fold 1": 292}
    for finding, place in zip(content["findings"], lines, strict=True):
        assert finding["class"] == "rbc"
        assert f"BloodImage_00{place}" in finding["place"]
