"""What a spec may say about images that keep their aspect."""

import pytest

from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.check import check
from frcnn_core.spec.load import loads

SPEC = """model_config {{ input_image_config {{
  {size}
}} }}
dataset_config {{
  data_sources {{ tfrecords_path: 'records/*' image_directory_path: 'images' }}
  target_class_mapping {{ key: 'van' value: 'car' }}
  validation_fold: 0
}}
augmentation_config {{ preprocessing {{
{output}
}} }}
"""
OUTPUT = "augmentation_config.preprocessing"
SIZE = "model_config.input_image_config"
MIN, FIXED = "size_min { min: 600 }", "size_height_width { height: 64 width: 96 }"


@pytest.fixture(scope="module")
def plugins():
    return installed()


def problems(plugins, output, size=MIN):
    """(severity, place, field) of each, and their messages."""
    found = check(loads(SPEC.format(size=size, output=output), "spec.txt"), plugins, None)
    return [(p.severity, p.where, p.field) for p in found], [p.message for p in found]


@pytest.mark.parametrize(
    "output",
    [
        "",
        "output_image_min: 600 output_image_max: 1000",
        "output_image_max: 600",
        "output_image_min: 0 output_image_max: 0 output_image_width: 0 output_image_height: 0",
        "output_image_channel: 3 min_bbox_width: 4",
    ],
)
def test_a_short_side_is_a_size(plugins, output):
    assert problems(plugins, output)[0] == []


def test_a_short_side_of_two_cells_is_the_least(plugins):
    assert problems(plugins, "", "size_min { min: 32 }")[0] == []
    found, _ = problems(plugins, "", "size_min { min: 31 }")
    assert found == [("error", "spec.txt:2:14", f"{SIZE}.size_min.min")]


def test_all_contradictions_are_told_with_their_places(plugins):
    found, messages = problems(
        plugins,
        "output_image_min: 500\noutput_image_max: 599\n"
        "output_image_width: 960\noutput_image_height: 544",
    )
    assert found == [
        ("error", "spec.txt:10:1", f"{OUTPUT}.output_image_min"),
        ("error", "spec.txt:11:1", f"{OUTPUT}.output_image_max"),
        ("error", "spec.txt:12:1", f"{OUTPUT}.output_image_width"),
        ("error", "spec.txt:13:1", f"{OUTPUT}.output_image_height"),
    ]
    assert "Type 600" in messages[0]
    assert "longer side" in messages[1]
    assert "Type 0" in messages[2]


@pytest.mark.parametrize("field", ["output_image_min", "output_image_max"])
def test_a_fixed_size_has_no_limits_of_a_dynamic_one(plugins, field):
    found, (message,) = problems(plugins, f"{field}: 700", FIXED)
    assert found == [("error", "spec.txt:10:1", f"{OUTPUT}.{field}")]
    wanted = 700 if field == "output_image_min" else 600
    assert f"size_min {{ min: {wanted} }}" in message


def test_resizing_is_not_optional_and_a_spec_that_says_so_is_told(plugins):
    found, (message,) = problems(plugins, "enable_auto_resize: False")
    assert found == [("warning", "spec.txt:10:1", f"{OUTPUT}.enable_auto_resize")]
    assert "keeping its aspect" in message


@pytest.mark.slow
def test_a_spec_without_a_size_is_offered_both_kinds(plugins):
    _, (message,) = problems(plugins, "", "")
    assert "size_height_width {" in message
    assert "size_min {" in message
