import json

import pytest
from click.testing import CliRunner
from survey.broken_set import BrokenSet, cars, line

from frcnn_core.cli import main


@pytest.fixture
def made(tmp_path):
    made = BrokenSet(tmp_path / "set")
    made.write("labels/train_1.txt", cars(3) + line(8, 9, 28, 49, "Bus"))
    return made


def run(made, *flags):
    spec = made.folder / "spec.txt"
    spec.write_text(made.spec)
    return CliRunner().invoke(main, ["dataset", "stats", "-e", str(spec), *map(str, flags)])


def row(output: str, name: str) -> list[str]:
    """The cells of the first line of a table that begins with a name."""
    found = next(line for line in output.splitlines() if line.strip("│ ").startswith(name))
    return [cell.strip() for cell in found.strip("│ ").split("│")][1:]


def test_objects_and_images_are_counted_by_split(made):
    result = run(made)
    assert result.exit_code == 0, result.output
    assert row(result.output, "car") == ["13", "10", "23"]
    assert row(result.output, "images ") == ["2", "1", "3"]
    assert row(result.output, "objects per image") == ["6.50", "10.00", "7.67"]
    assert row(result.output, "60 x 40") == ["2", "1"]
    assert "Not counted in training: 1 object(s) of other classes: bus." in result.output


def test_a_dataset_spec_has_all_classes_in_pixels_of_the_image(made):
    spec = made.folder / "spec.txt"
    spec.write_text(
        f'source {{ root_directory_path: "{made.folder}" images: "images" labels: "labels" '
        'format: "kitti" val_split: 0 }'
    )
    result = CliRunner().invoke(main, ["dataset", "stats", "-d", str(spec), "--json", "-"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["classes"] == ["bus", "car"]
    assert content["splits"]["fold 1"]["objects"] == {"bus": 1, "car": 23}
    # The bus reaches out of the image, and is measured as far as it is inside.
    assert content["boxes"]["bus"]["height"] == [31] * 7
    assert content["boxes"]["car"]["side"] == [20] * 7
    assert content["pixels"] == "image"
    assert content["splits"]["fold 1"]["image_sizes"] == [{"height": 40, "width": 60, "images": 3}]
    assert content["splits"]["fold 1"]["objects_per_image"] == {"4": 1, "10": 2}


def test_an_experiment_spec_has_them_in_network_pixels(made):
    made.preprocessing = "enable_auto_resize: True"
    spec = made.folder / "spec.txt"
    spec.write_text(made.spec.replace("height: 40 width: 60", "height: 80 width: 60"))
    result = CliRunner().invoke(main, ["dataset", "stats", "-e", str(spec), "--json", "-"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["pixels"] == "network"
    assert content["boxes"]["car"]["height"] == [40] * 7
    assert content["boxes"]["car"]["width"] == [20] * 7
    assert content["boxes"]["car"]["ratio"] == [0.5] * 7


def test_the_page_is_written_with_images_and_not_over_another_file(made, tmp_path):
    file = tmp_path / "page.html"
    result = run(made, "--html", file)
    assert result.exit_code == 0, result.output
    text = file.read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert "anchor scale 16" in text
    assert run(made, "--html", file).exit_code == 2
    assert file.read_text() == text


@pytest.mark.slow
def test_a_source_that_cannot_be_opened_is_an_error(made):
    made.more_classes = 'data_sources { tfrecords_path: "gone*" image_directory_path: "." }'
    result = run(made)
    assert result.exit_code == 2
    assert "gone*: no file matches" in result.output
