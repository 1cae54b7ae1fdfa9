"""The calibration cache and the JSON file."""

import json

import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin.int8 import Int8Options
from frcnn_onnx.int8.range_files import cache_text, files, read_cache, write_ranges

RANGES = {"input_image": 151.061, "features/relu": 6.0, "rpn/a: b": 1.0}


def test_scales_are_the_bits_of_float32_as_tensorrt_writes_them():
    assert cache_text(RANGES, "7.2.3.4").splitlines() == [
        "TRT-7203-EntropyCalibration2",
        "input_image: 3f98401e",
        "features/relu: 3d418306",
        "rpn/a: b: 3c010204",
    ]


def test_a_cache_names_a_version_of_tensorrt_where_there_is_none():
    assert cache_text({}).startswith("TRT-")
    assert cache_text({}, "10.0").startswith("TRT-10000-")


def test_a_cache_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "cal.bin"
    path.write_text(cache_text(RANGES, "8.6.1"))
    assert read_cache(path) == pytest.approx(RANGES)


@pytest.mark.parametrize("text", ["", "TRT-8601\n", "TRT-8601-EntropyCalibration2\na: zz\n"])
def test_what_is_no_cache_is_refused(tmp_path, text):
    path = tmp_path / "cal.bin"
    path.write_text(text)
    with pytest.raises(ModelFileError, match="is no calibration cache"):
        read_cache(path)


@pytest.mark.slow
def test_the_cache_is_beside_the_model_unless_it_is_given_another_place(tmp_path):
    model = tmp_path / "model.onnx"
    assert files(model, Int8Options()) == [tmp_path / "cal.bin"]
    elsewhere = Int8Options(
        cal_cache_file=tmp_path / "a" / "cache", cal_json_file=tmp_path / "ranges.json"
    )
    assert write_ranges(model, elsewhere, RANGES) == files(model, elsewhere)
    assert read_cache(tmp_path / "a" / "cache") == pytest.approx(RANGES)
    # Ranges, not scales; in the order that data flows.
    assert json.loads((tmp_path / "ranges.json").read_text()) == {"tensor_scales": RANGES}
