"""What is shown of a spec's data is what its network is given."""

import logging

import numpy as np
import pytest
import toy
from PIL import Image

from frcnn_core import assemble
from frcnn_core.assemble.show import require_shown, seen_by_network
from frcnn_core.errors import DataError, SpecError
from frcnn_core.spec.load import loads

WILD = """spatial_augmentation {
    hflip_probability: 0.5 vflip_probability: 0.5 zoom_min: 0.6 zoom_max: 1.5
    translate_max_x: 10 translate_max_y: 10 rotate_rad_max: 1.0
  }
  color_augmentation { color_shift_stddev: 0.2 hue_rotation_max: 90 contrast_scale_max: 0.4 }"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Six scenes to train on, the first one empty, and four for validation."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=0, empty=1)
    toy.write_scenes(folder, "val", 4, seed=1)
    return folder


def spec_of(folder, spatial="spatial_augmentation { hflip_probability: 0.5 }", **given):
    given = {"validation": toy.validated_on(folder, "val")} | given
    text = toy.spec_text(folder, **given)
    return loads(text.replace("spatial_augmentation { hflip_probability: 0.5 }", spatial), "spec")


def seen(spec, split="training", count=99, **options):
    return list(seen_by_network(spec, toy.plugins(), split=split, count=count, **options))


def stored(one) -> np.ndarray:
    return np.asarray(Image.open(one.truth.name))


def red_or_blue(pixels: np.ndarray) -> list[int]:
    """(y1, x1, y2, x2) of the square that is brighter than the noise."""
    rows, columns = np.nonzero(pixels.max(axis=2) > 150)
    return [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


@pytest.mark.slow
@pytest.mark.parametrize(("split", "count"), [("training", 6), ("validation", 4)])
def test_without_augmentation_the_pixels_are_those_of_the_files(scenes, split, count):
    shown = seen(spec_of(scenes), split)
    assert [one.number for one in shown] == list(range(1, count + 1))
    for one in shown:
        np.testing.assert_array_equal(one.pixels, stored(one))
        assert (one.draw, one.size) == (None, (64, 64))
    with_objects = [one for one in shown if len(one.truth.classes)]
    assert len(with_objects) == (5 if split == "training" else 4)
    for one in with_objects:
        assert one.truth.boxes.tolist() == [red_or_blue(one.pixels)]
        box = one.truth.boxes[0].astype(int)
        red, _, blue = one.pixels[box[0], box[1]]
        assert one.truth.classes.tolist() == [0 if blue > red else 1]  # blue, red


@pytest.mark.slow
def test_each_image_comes_as_it_is_and_then_in_every_draw(scenes):
    shown = seen(spec_of(scenes), count=3, draws=4)
    assert [(one.draw, one.number) for one in shown] == [
        (draw, number) for draw in (None, 1, 2, 3, 4) for number in (1, 2, 3)
    ]
    names = {one.number: one.truth.name for one in shown}
    mirrored = []
    for one in shown[3:]:
        assert one.truth.name == names[one.number]
        image = stored(one)
        assert any(np.array_equal(one.pixels, side) for side in (image, image[:, ::-1]))
        mirrored.append(not np.array_equal(one.pixels, image))
        if len(one.truth.boxes):
            assert one.truth.boxes.tolist() == [red_or_blue(one.pixels)]
    assert True in mirrored
    assert False in mirrored


@pytest.mark.slow
def test_equal_seeds_show_the_same_and_others_do_not(scenes):
    spec = spec_of(scenes, WILD)

    def draws(**options):
        return [one.pixels for one in seen(spec, count=2, draws=1, **options)[2:]]

    first, again, other = draws(seed=42), draws(seed=42), draws(seed=8)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(draws(), first)  # the spec's own


@pytest.mark.slow
def test_no_augmentation_of_the_spec_changes_what_is_evaluated(scenes):
    """The very batches of an evaluation, under the wildest augmentation and under none."""
    found = []
    for spatial in ("", WILD):
        spec = spec_of(scenes, spatial)
        data = assemble.evaluation_set(spec, toy.plugins())
        (batch,) = data.batches(assemble.preprocessing(spec), 4)
        found.append(batch)
    for plain, wild in zip(*found, strict=True):
        np.testing.assert_array_equal(plain.numpy(), wild.numpy())


@pytest.mark.slow
def test_some_images_of_many_are_drawn_from_all_of_them(scenes):
    names = [[one.truth.name for one in seen(spec_of(scenes), count=2, seed=s)] for s in range(3)]
    assert all(len(set(pair)) == 2 and pair == sorted(pair) for pair in names)
    assert len({name for pair in names for name in pair}) >= 5


@pytest.mark.slow
def test_a_bad_image_is_named_and_the_others_keep_their_numbers(tmp_path, caplog):
    toy.write_scenes(tmp_path, "train", 3, seed=0)
    (tmp_path / "images" / "train_1.png").write_bytes(b"?")
    spec = spec_of(tmp_path, validation="")
    with caplog.at_level(logging.WARNING):
        assert [one.number for one in seen(spec)] == [1, 3]
    assert "train_1.png" in caplog.text


@pytest.mark.slow
def test_nothing_but_bad_images_is_an_error_that_names_them(tmp_path):
    toy.write_scenes(tmp_path, "train", 2, seed=0)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"?")
    with pytest.raises(DataError, match=r"train_0\.png: not a JPEG(.|\n)*train_1\.png: not a JPEG"):
        seen(spec_of(tmp_path, validation=""))


@pytest.mark.slow
def test_a_spec_without_validation_data_cannot_show_any(scenes):
    with pytest.raises(SpecError, match="there is no validation data"):
        require_shown(
            spec_of(scenes, validation=""), toy.plugins(), split="validation", augmented=False
        )
