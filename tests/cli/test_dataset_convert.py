import json

import pytest
from click.testing import CliRunner
from PIL import Image

from frcnn_core.cli import main

CAR = "Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def spec(tmp_path):
    """A spec of three images a, b and c with a car each; one of them is for validation."""
    (tmp_path / "image_2").mkdir()
    (tmp_path / "label_2").mkdir()
    for name in "abc":
        Image.new("RGB", (8, 6)).save(tmp_path / "image_2" / f"{name}.png")
        (tmp_path / "label_2" / f"{name}.txt").write_text(CAR)
    path = tmp_path / "spec.txt"
    path.write_text(
        f"""kitti_config {{
          root_directory_path: "{tmp_path}"
          image_dir_name: "image_2"
          label_dir_name: "label_2"
          val_split: 34
          num_shards: 0
        }}"""
    )
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["dataset_convert", *map(str, arguments)])


@pytest.mark.parametrize(
    ("spec_flag", "output_flag"),
    [("-d", "-o"), ("--dataset_spec", "--output_filename"), ("--dataset_export_spec", "-o")],
)
def test_records_are_written_and_objects_counted(spec, spec_flag, output_flag):
    result = run(spec_flag, spec, output_flag, spec.parent / "records" / "set")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (spec.parent / "records").iterdir()) == [
        "set-fold-000-of-002",
        "set-fold-001-of-002",
    ]
    row = next(line for line in result.output.splitlines() if "car" in line)
    assert [word for word in row.split() if word.isalnum()] == ["car", "1", "2", "3"]


def test_one_bad_label_of_three_stops_with_its_line_and_nothing_written(spec):
    (spec.parent / "label_2" / "b.txt").write_text(CAR + "Car 0\n")
    result = run("-d", spec, "-o", spec.parent / "records" / "set")
    assert result.exit_code == 2
    assert "label_2/b.txt:2: 2 fields" in result.output
    assert not (spec.parent / "records").exists()


def test_skip_bad_goes_on_and_lists_what_was_left_out(spec):
    (spec.parent / "label_2" / "b.txt").write_text("Car 0\n")
    output = spec.parent / "records" / "set"
    result = run("-d", spec, "-o", output, "--skip-bad", "-r", spec.parent / "results")
    assert result.exit_code == 0, result.output
    assert "label_2/b.txt:1: 2 fields" in result.output
    report = json.loads((spec.parent / "results" / "conversion.json").read_text())
    assert sum(report["num_images"].values()) == 2
    assert len(report["left_out"]) == 1


def test_a_second_run_needs_overwrite(spec):
    output = spec.parent / "records" / "set"
    assert run("-d", spec, "-o", output).exit_code == 0
    again = run("-d", spec, "-o", output)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert run("-d", spec, "-o", output, "--overwrite").exit_code == 0


def test_too_few_images_for_validation_are_told(spec):
    spec.write_text(spec.read_text().replace("val_split: 34", "val_split: 30"))
    result = run("-d", spec, "-o", spec.parent / "records" / "set")
    assert result.exit_code == 0
    assert "too few images for validation" in result.output


def test_labels_of_another_format_need_only_their_place(spec):
    root = spec.parent
    for path in (root / "label_2").iterdir():
        path.write_text("0 0.25 0.5 0.25 0.5\n")
    (root / "label_2" / "classes.txt").write_text("Big Bus\n")
    spec.write_text(
        f'source {{ root_directory_path: "{root}" images: "image_2" labels: "label_2" }}'
    )
    result = run("-d", spec, "-o", root / "records" / "set")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "big bus" in line)
    assert [word for word in row.split() if word.isdigit()] == ["0", "3", "3"]


def test_a_format_that_is_not_installed_is_an_error_at_its_place(spec):
    spec.write_text('source {\n  images: "image_2" labels: "label_2" format: "vok"\n}')
    result = run("-d", spec, "-o", spec.parent / "set")
    assert result.exit_code == 2
    assert f"{spec}:2:39: source.format: no label format is called 'vok'" in result.output
    assert "Did you mean 'voc'?" in result.output


@pytest.mark.slow
def test_all_that_is_missing_of_a_coco_spec_is_told(spec):
    spec.write_text('coco_config { root_directory_path: "." }')
    result = run("-d", spec, "-o", spec.parent / "set")
    assert result.exit_code == 2
    assert "img_dir_names is missing" in result.output
    assert "annotation_files is missing" in result.output
