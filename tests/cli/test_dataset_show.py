"""``frcnn dataset show`` as typed."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from frcnn_core.cli import main

SPEC = """
dataset_config {{
  data_sources {{
    image_directory_path: "{0}/images"
    labels {{ path: "{0}/labels" format: "kitti" }}
  }}
  target_class_mapping {{ key: "car" value: "car" }}
}}
model_config {{
  input_image_config {{
    image_type: RGB
    image_channel_order: "bgr"
    size_height_width {{ height: 192 width: 256 }}
    image_channel_mean {{ key: "r" value: 123 }}
    image_channel_mean {{ key: "g" value: 116 }}
    image_channel_mean {{ key: "b" value: 103 }}
    image_scaling_factor: 58
  }}
}}
augmentation_config {{
  preprocessing {{
    output_image_width: 256
    output_image_height: 192
    output_image_channel: 3
    enable_auto_resize: False
  }}
  spatial_augmentation {{ hflip_probability: 1.0 }}
}}
training_config {{ enable_augmentation: {1} batch_size_per_gpu: 2 }}
"""
CAR = "car 0 0 0 10 20 60 90 0 0 0 0 0 0 0\n"
HIDDEN_CAR = "car 0 2 0 80 20 130 90 0 0 0 0 0 0 0\n"


@pytest.fixture
def folder(tmp_path):
    """Three images of 160 x 200, smaller than the network input, their left half red."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    pixels = np.zeros((160, 200, 3), np.uint8)
    pixels[:, :100, 0] = 200
    for name in "abc":
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text(CAR + HIDDEN_CAR)
    (tmp_path / "spec.txt").write_text(SPEC.format(tmp_path, True))
    return tmp_path


def run(folder, *words, output="out"):
    words = ("dataset", "show", "-e", folder / "spec.txt", "-o", folder / output, *words)
    return CliRunner().invoke(main, list(map(str, words)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def colour(path, x, y):
    with Image.open(path) as picture:
        return picture.getpixel((x, y))


@pytest.mark.slow
def test_the_pictures_are_the_network_input_with_objects_and_padding(folder):
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == (
        f"3 images: 3 pictures and sheet.png written to {folder}/out."
    )
    assert names(folder / "out") == ["001_a.png", "002_b.png", "003_c.png", "sheet.png"]
    picture = folder / "out" / "001_a.png"
    with Image.open(picture) as image:
        assert image.size == (256, 192)
    assert colour(picture, 95, 150) == (200, 0, 0)
    assert colour(picture, 105, 150) == (0, 0, 0)
    assert colour(picture, 10, 50) == colour(picture, 59, 50) != (200, 0, 0)  # sides of the box
    assert colour(picture, 198, 160) == (255, 255, 255)  # dots where padding begins
    assert colour(picture, 230, 180) == (0, 0, 0)
    # of a difficult object every other dash is missing
    side = [colour(picture, 80, y) != (200, 0, 0) for y in range(40, 89)]
    assert 0.3 < np.mean(side) < 0.7


@pytest.mark.slow
def test_augmented_images_stand_beside_themselves(folder):
    result = run(folder, "--augmented", "--draws", 2, "-n", 2)
    assert result.exit_code == 0, result.output
    written = names(folder / "out")
    assert len(written) == 7
    first = written[0].removesuffix(".png")
    assert written[:3] == [f"{first}.png", f"{first}_draw1.png", f"{first}_draw2.png"]
    assert colour(folder / "out" / written[1], 50, 150) == (0, 0, 0)  # mirrored
    assert colour(folder / "out" / written[1], 150, 150) == (200, 0, 0)
    with Image.open(folder / "out" / "sheet.png") as sheet:
        assert sheet.width == 3 * 256 + 4 * 8


@pytest.mark.slow
def test_the_sheet_may_be_all(folder):
    result = run(folder, "--sheet")
    assert result.exit_code == 0, result.output
    assert names(folder / "out") == ["sheet.png"]


@pytest.mark.slow
def test_nothing_is_written_to_a_folder_with_something_in_it(folder):
    assert run(folder, "--sheet").exit_code == 0
    before = (folder / "out" / "sheet.png").read_bytes()
    result = run(folder)
    assert result.exit_code == 2
    assert "out exists and is not empty. Give another folder with -o." in result.output
    assert names(folder / "out") == ["sheet.png"]
    assert (folder / "out" / "sheet.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "augments", "problem"),
    [
        (("--split", "validation"), True, "there is no validation data"),
        (("--split", "validation", "--augmented"), True, "Nothing is random in validation"),
        (("--augmented",), False, "enable_augmentation: is off"),
    ],
)
def test_what_cannot_be_shown_is_an_error(folder, words, augments, problem):
    (folder / "spec.txt").write_text(SPEC.format(folder, augments))
    result = run(folder, *words)
    assert result.exit_code == 2
    assert problem in result.output
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_a_broken_section_that_says_nothing_of_data_does_not_matter(folder):
    text = (folder / "spec.txt").read_text()
    (folder / "spec.txt").write_text(text + "model_config { arch: 'no such network' }\n")
    assert run(folder, "--sheet").exit_code == 0
