import json

import pytest
from click.testing import CliRunner
from survey.broken_set import BrokenSet, line

from frcnn_core.cli import main
from frcnn_core.spec.load import loads


@pytest.fixture
def made(tmp_path):
    """Cars of 36 x 36 pixels on the cells of the feature map; the spec's anchors are 16 and 32."""
    made = BrokenSet(tmp_path / "set")
    labels = line(6, 6, 42, 42) + line(22, 6, 58, 42)  # around 24 and 40; 24
    for name in ("train_0", "train_1"):
        made.write(f"labels/{name}.txt", labels.replace(" 42 0 0", " 40 0 0"))
    return made


def run(made, *flags, **replaced):
    spec = made.folder / "spec.txt"
    text = made.spec
    for old, new in replaced.get("changes", {}).items():
        assert old in text
        text = text.replace(old, new)
    spec.write_text(text)
    arguments = ["anchors", "suggest", "-e", str(spec), *map(str, flags)]
    return CliRunner().invoke(main, arguments), spec


def test_the_cover_of_the_spec_is_told_and_the_spec_stays(made):
    result, spec = run(made)
    before = spec.read_text()
    assert result.exit_code == 0, result.output
    assert "4 training objects" in result.output
    assert "IoU of 0.7 (rpn_max_overlap)" in result.output
    assert "scales 16, 32; ratios 1" in result.output
    assert spec.read_text() == before


def test_what_is_suggested_can_be_put_into_the_spec(made):
    result, _ = run(made, changes={"scale: [16.0, 32.0]": "scale: [8.0, 16.0]"})
    assert result.exit_code == 0, result.output
    block = result.output[result.output.index("anchor_box_config") :]
    config = loads(f"model_config {{ {block} }}").message.model_config.anchor_box_config
    assert len(config.scale) == 2 and len(config.ratio) == 1
    again, _ = run(
        made,
        "--json",
        "-",
        changes={"scale: [16.0, 32.0] ratio: [1.0]": block[block.index("{") + 1 :].rstrip("}\n ")},
    )
    content = json.loads(again.stdout)
    assert content["given"]["all"]["covered"] == 1


def test_json_has_both_and_each_class(made):
    made.more_classes = 'target_class_mapping { key: "bus" value: "bus" }'
    result, _ = run(made, "--json", "-", changes={"scale: [16.0, 32.0]": "scale: [8.0, 16.0]"})
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["given"]["scales"] == [8, 16]
    # The largest anchor, 16 x 16, is inside of the box of 36 x 34.
    assert content["given"]["all"]["mean_iou"] == pytest.approx(256 / (36 * 34), abs=1e-6)
    assert content["given"]["classes"]["car"]["rescued"] == 1
    assert content["given"]["classes"]["bus"] == {
        "num_boxes": 0,
        **dict.fromkeys(("covered", "mean_iou", "rescued", "unreachable", "smaller")),
    }
    assert content["suggested"]["all"]["covered"] == 1


def test_an_anchor_that_fits_into_no_image_is_told(made):
    result, _ = run(made, changes={"scale: [16.0, 32.0]": "scale: [32.0, 200.0]"})
    assert "The anchor of 200 x 200 pixels (height x width) is inside of no image" in result.output


def test_the_sizes_that_zoom_makes_are_fitted(made):
    zoom = """training_config { enable_augmentation: True"""
    made.preprocessing = "} spatial_augmentation { zoom_min: 1.0 zoom_max: 2.0"
    result, _ = run(made, changes={"training_config {": zoom})
    assert result.exit_code == 0, result.output
    assert "zoom_min 1 and zoom_max 2 make of it, 50% to 100%" in result.output


def test_without_objects_there_is_nothing_to_fit(made):
    for name in ("train_0", "train_1"):
        made.write(f"labels/{name}.txt", line(8, 9, 30, 30, "bus"))
    result, _ = run(made)
    assert result.exit_code == 2
    assert "no object to train on" in result.output


@pytest.mark.slow
def test_anchors_that_make_no_sense_are_refused(made):
    result, _ = run(made, changes={"scale: [16.0, 32.0]": "scale: [-16.0]"})
    assert result.exit_code == 2
    assert "anchor_box_config" in result.output
