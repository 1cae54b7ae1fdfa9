import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner
from PIL import Image

from frcnn_core import Exporter
from frcnn_core.cli import main
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import archive
from frcnn_core.plugin import discovery as plugins
from frcnn_core.plugin.int8 import Int8Options
from frcnn_core.plugin.registry import Registered
from frcnn_core.quantization import quantize

SPEC = "inference_config {{ object_confidence_thres: {} classifier_nms_max_boxes: 7 }}"


@pytest.fixture
def model(tiny_model, tmp_path):
    path = tmp_path / "tiny.tlt"
    archive.write(path, replace(tiny_model, spec=SPEC.format(0.25)).to_archive(), "secret")
    return path


@pytest.fixture
def frcnn(tmp_path):
    def run(*args):
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def settings(folder):
    return json.loads((folder / "frcnn.json").read_text())["settings"]


@pytest.mark.slow
def test_a_format_can_be_named(frcnn, model, tmp_path):
    result = frcnn("export", "saved_model", "-m", model, "-k", "secret", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"Written: {tmp_path / 'out'}" in result.output
    assert (tmp_path / "out" / "saved_model.pb").exists()


@pytest.mark.slow
def test_the_ending_of_the_output_chooses_the_format(frcnn, model, tmp_path):
    result = frcnn("export", "-m", model, "-k", "secret", "-o", tmp_path / "a.saved_model")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.saved_model" / "saved_model.pb").exists()


@pytest.mark.slow
def test_without_an_output_the_models_name_is_taken(frcnn, model, tmp_path):
    assert frcnn("export", "-m", model, "-k", "secret", "--format", "saved_model").exit_code == 0
    assert (tmp_path / "tiny.saved_model").is_dir()


@pytest.mark.slow
def test_the_thresholds_are_those_the_model_was_trained_with_unless_a_spec_is_given(
    frcnn, model, tmp_path
):
    (tmp_path / "spec.txt").write_text(SPEC.format(0.5))
    export = ("export", "saved_model", "-m", model, "-k", "secret", "-o")
    frcnn(*export, tmp_path / "own")
    frcnn(*export, tmp_path / "given", "-e", tmp_path / "spec.txt")
    assert settings(tmp_path / "own")["object_confidence_thres"] == 0.25
    assert settings(tmp_path / "given")["object_confidence_thres"] == 0.5
    assert settings(tmp_path / "given")["classifier_nms_max_boxes"] == 7


def test_an_unknown_ending_lists_the_formats(frcnn, model):
    result = frcnn("export", "-m", model, "-o", "a.uff")
    assert result.exit_code == 2
    assert "By the ending of -o a.uff no format is chosen" in result.output
    assert "saved_model (.saved_model)" in result.output


def test_an_unknown_format_is_corrected(frcnn, model):
    result = frcnn("export", "savedmodel", "-m", model)
    assert result.exit_code == 2
    assert "Did you mean 'saved_model'?" in result.output


def test_a_documented_flag_names_the_exporters_that_have_it(frcnn, model):
    flags = ["--max_workspace_size", "1", "-s"]
    result = frcnn("export", "-m", model, "--format", "saved_model", *flags)
    assert result.exit_code == 2
    for flag in ("max_workspace_size", "strict_type_constraints"):
        assert f"--{flag}: saved_model has no such option. " in result.output
        assert "tensorrt" in result.output


def test_a_format_without_precisions_names_those_that_have_them(frcnn, model):
    result = frcnn("export", "saved_model", "-m", model, "--data_type", "int8")
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert "saved_model has no option --data_type. These have:" in text
    assert "onnx" in text and "tflite" in text


def test_an_existing_output_is_not_replaced(frcnn, model, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = frcnn("export", "saved_model", "-m", model, "-k", "secret", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "exists" in result.output
    assert (tmp_path / "out").read_text() == "mine"


def test_a_wrong_key_says_so_and_leaves_a_failure_in_the_status_file(frcnn, model, tmp_path):
    result = frcnn("export", "saved_model", "-m", model, "-k", "guess", "-r", tmp_path / "log")
    assert result.exit_code == 2
    assert "the key is wrong" in result.output
    last = (tmp_path / "log" / "status.json").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "FAILURE"


def test_flags_before_the_format_are_refused(frcnn, model):
    result = frcnn("export", "-m", model, "saved_model")
    assert result.exit_code == 2
    assert "Give all flags after the format: frcnn export saved_model -m" in result.output


def test_no_model_says_what_to_type(frcnn):
    for command in (["export"], ["export", "saved_model"]):
        result = frcnn(*command)
        assert result.exit_code == 2
        assert "frcnn export FORMAT -m MODEL" in result.output


def help_of(text, default):
    return field(default=default, metadata={"help": text})


class Writer(Exporter):
    """Writes what it was asked for as text, and a calibration cache beside it for int8."""

    def __init__(self, name, options, requires=()):
        self.name, self.summary, self.suffix = name, f"the format {name}", f".{name}"
        self.Options, self.requires = options, requires

    def writes(self, output, options):
        if getattr(options, "data_type", "") != "int8" or self.name == "tensorrt":
            return [output]
        return [output, options.cal_cache_file or output.parent / "cal.bin"]

    def export(self, model, output, *, settings, options, images=None):
        written = self.writes(output, options)
        if taken := [path for path in written if path.exists()]:
            raise FrcnnError(f"{taken[0]}: exists.")
        if getattr(options, "outputs", "") == "broken":
            output.write_text("half")
            raise FrcnnError("a layer cannot be expressed.")
        for path in written:
            path.write_text(repr(options))
        if images:
            shapes = [batch.shape for batch in images.batches()]
            output.write_text(f"{options!r} calibrated on {shapes}")
        return written


@dataclass(frozen=True)
class OnnxLike(Int8Options):
    outputs: Literal["nms", "named", "broken"] = help_of("what comes out", "nms")
    embed_preprocessing: bool = help_of("take uint8 images", False)
    gen_ds_config: bool = help_of("write files for DeepStream", False)
    target_opset: int = help_of("opset of ONNX", 17)
    static_batch_size: int = help_of("images in each batch", -1)


@dataclass(frozen=True)
class EtltLike(OnnxLike):
    key: str = help_of("never a flag of its own", "")
    nms_score_bits: int = help_of("bits of a score", 0)


@dataclass(frozen=True)
class EngineLike(Int8Options):
    max_batch_size: int = help_of("images at once", 16)
    min_batch_size: int = help_of("fewest images at once", 1)
    opt_batch_size: int = help_of("images to be fast for", 1)
    max_workspace_size: int = help_of("bytes", 1 << 30)
    strict_type_constraints: bool = help_of("no fallback", False)
    size: tuple[int, int] = help_of("two numbers", (1, 2))


@pytest.fixture
def formats(monkeypatch):
    """Exporters with the options of frcnn's own, which need no libraries and no time."""
    found = plugins.Plugins([])
    for exporter in (
        Writer("onnx", OnnxLike),
        Writer("etlt", EtltLike),
        Writer("tensorrt", EngineLike),
        Writer("lacking", OnnxLike, requires=("a_library_that_is_not_there",)),
    ):
        found.exporters.add(Registered(exporter, exporter.name, "frcnn 0.1"))
    for entry in plugins.installed().backbones:
        found.backbones.add(entry)
    monkeypatch.setattr("frcnn_core.plugin.installed", lambda: found)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (48, 32), (number,) * 3).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", [["export"], ["export", "tensorrt"]])
def test_an_exporters_options_are_flags_of_both_spellings(frcnn, formats, model, tmp_path, command):
    out = tmp_path / "a.tensorrt"
    flags = ["--max_batch_size", "4", "--strict_type_constraints"]
    result = frcnn(*command, "-m", model, "-k", "secret", "-o", out, *flags)
    assert result.exit_code == 0, result.output
    assert "max_batch_size=4" in out.read_text()
    assert "strict_type_constraints=True" in out.read_text()


def test_help_lists_an_exporters_options_with_their_choices_and_defaults(frcnn, formats):
    output = frcnn("export", "tensorrt", "--help").output
    assert "--max_batch_size N " in output
    assert "images at once  [default: 16]" in output
    assert "-s, --strict_type_constraints " in output
    assert "--data_type [fp32|fp16|int8]" in output
    assert "--cal_image_dir PATH" in output
    assert "--keep_float TEXT,..." in output
    assert "--size N,N" in output
    assert "two numbers  [default: 1,2]" in output
    assert "--force_ptq / --no-force_ptq" in output
    etlt = frcnn("export", "etlt", "--help").output
    assert "never a flag of its own" not in etlt


def test_a_value_of_the_wrong_type_says_what_is_expected(frcnn, formats, model):
    result = frcnn("export", "tensorrt", "-m", model, "--max_batch_size", "many")
    assert result.exit_code == 2
    assert "frcnn export tensorrt.max_batch_size: expected a whole number" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["--embed-preprocessing", "--embed_preprocessing"])
def test_flags_may_be_typed_with_hyphens(frcnn, formats, model, tmp_path, spelling):
    out = tmp_path / "a.onnx"
    result = frcnn("export", "onnx", "-m", model, "-k", "secret", "--output-file", out, spelling)
    assert result.exit_code == 0, result.output
    assert "embed_preprocessing=True" in out.read_text()
    result = frcnn(
        "export", "-m", model, "-k", "secret", "-o", tmp_path / "b.onnx", "--target-opset=18"
    )
    assert "target_opset=18" in (tmp_path / "b.onnx").read_text(), result.output


def test_an_option_of_many_values_takes_commas_and_repetition(frcnn, formats, model, tmp_path):
    layers = ["--keep_float", "rpn/a,head/*", "--keep-float", "features/c"]
    int8 = ["--data_type", "fp16", *layers]
    result = frcnn("export", "onnx", "-m", model, "-k", "secret", "-o", tmp_path / "a.onnx", *int8)
    assert result.exit_code == 0, result.output
    assert "keep_float=('rpn/a', 'head/*', 'features/c')" in (tmp_path / "a.onnx").read_text()


def test_a_flag_of_a_format_before_any_says_where_it_goes(frcnn, formats, model):
    result = frcnn("export", "-m", model, "-o", "a.onnx", "--outputs", "named")
    assert result.exit_code == 2
    assert "Type it after one that has it: frcnn export etlt -m MODEL --outputs" in result.output


def test_without_an_output_the_format_is_etlt_with_a_key_and_onnx_without(
    frcnn, formats, model, tiny_model, tmp_path
):
    result = frcnn("export", "-m", model, "-k", "secret")
    assert result.exit_code == 0, result.output
    assert "The format is etlt, as in TLT without -o and with a key (-k)." in result.output
    assert "key='secret'" in (tmp_path / "tiny.etlt").read_text()

    archive.write(tmp_path / "plain.tlt", tiny_model.to_archive())
    result = frcnn("export", "-m", tmp_path / "plain.tlt")
    assert result.exit_code == 0, result.output
    assert "The format is onnx" in result.output
    assert (tmp_path / "plain.onnx").exists()


def test_a_format_with_a_key_gets_that_of_the_spec_too_and_does_not_go_without(
    frcnn, formats, model, tmp_path
):
    refused = frcnn("export", "etlt", "-m", model)
    assert refused.exit_code == 2
    assert "etlt files are encrypted: give a key with -k KEY" in refused.output
    (tmp_path / "spec.txt").write_text('enc_key: "secret" ' + SPEC.format(0.5))
    result = frcnn("export", "etlt", "-m", model, "-e", tmp_path / "spec.txt")
    assert result.exit_code == 0, result.output
    assert "key='secret'" in (tmp_path / "tiny.etlt").read_text()


def test_bits_of_scores_are_those_of_the_spec_unless_typed(frcnn, formats, model, tmp_path):
    spec = tmp_path / "spec.txt"
    spec.write_text("inference_config { nms_score_bits: 4 }")
    export = ["export", "etlt", "-m", model, "-k", "secret", "-e", spec]
    frcnn(*export, "-o", tmp_path / "a.etlt")
    frcnn(*export, "-o", tmp_path / "b.etlt", "--nms_score_bits", "7")
    assert "nms_score_bits=4" in (tmp_path / "a.etlt").read_text()
    assert "nms_score_bits=7" in (tmp_path / "b.etlt").read_text()


def test_libraries_that_are_missing_are_named_before_anything_is_read(frcnn, formats):
    result = frcnn("export", "lacking", "-m", "nowhere.tlt")
    assert result.exit_code == 2
    assert (
        "lacking needs a_library_that_is_not_there: pip install 'frcnn[lacking]'" in result.output
    )


def test_the_int8_command_line_of_tlt_runs_as_documented(frcnn, formats, model, images, tmp_path):
    out, data = tmp_path / "a.etlt", tmp_path / "calibration.tensor"
    command = (
        f"export --gpu_index 0 -m {model} -o {out} -k secret --data_type int8 --batch_size 2 "
        f"--batches 1 --cal_image_dir {images} --cal_data_file {data} "
        f"--cal_cache_file {tmp_path}/int8.bin --cal_json_file {tmp_path}/int8.json "
        "--gen_ds_config -v --static_batch_size 1 --target_opset 17 --onnx_route tf2onnx "
        f"--results_dir {tmp_path}/log --log_file {tmp_path}/log.txt"
    )
    result = frcnn(*command.split())
    assert result.exit_code == 0, result.output
    assert "--onnx_route is ignored" in result.output
    assert f"Calibrating int8 on 1 batches of images from {data}" in result.output
    assert "calibrated on [(2, 32, 48, 3)]" in out.read_text()
    assert "gen_ds_config=True" in out.read_text()
    assert (tmp_path / "int8.bin").exists()
    assert data.exists()


@pytest.mark.slow
def test_an_engine_is_built_after_the_file_with_the_flags_that_are_its_own(
    frcnn, formats, model, images, tmp_path
):
    out, engine = tmp_path / "a.onnx", tmp_path / "a.engine"
    command = (
        f"export -m {model} -o {out} -k secret --engine_file {engine} --data_type int8 "
        f"--cal_image_dir {images} --batches 1 --batch_size 3 --max_batch_size 4 "
        f"--max_workspace_size 1024 -s --gen_ds_config --cal_cache_file {tmp_path}/c.bin"
    )
    result = frcnn(*command.split())
    assert result.exit_code == 0, result.output
    assert result.output.index(f"Written: {out}") < result.output.index("as tensorrt")
    assert f"Written: {engine}" in result.output
    built = engine.read_text()
    for part in ("max_batch_size=4", "max_workspace_size=1024", "strict_type_constraints=True"):
        assert part in built
    assert "data_type='int8'" in built
    assert "cal_cache_file=None" in built, "the file of -o has it"
    for path in (out, engine):
        assert "calibrated on [(3, 32, 48, 3)]" in path.read_text()


def test_flags_of_an_engine_that_is_not_asked_for_say_how_to_ask(frcnn, formats, model):
    result = frcnn("export", "-m", model, "-o", "a.onnx", "--max_batch_size", "4")
    assert result.exit_code == 2
    assert "--max_batch_size: onnx has no such option. These have: tensorrt." in result.output
    assert "--engine_file ENGINE" in result.output


def test_flags_of_int8_have_no_effect_without_it_and_that_is_said(frcnn, formats, model, tmp_path):
    out = tmp_path / "a.onnx"
    result = frcnn("export", "-m", model, "-k", "secret", "-o", out, "--batches", "3")
    assert result.exit_code == 0, result.output
    assert "No effect without --data_type int8: --batches." in result.output


def test_int8_without_any_images_says_what_to_type(frcnn, formats, model, tmp_path):
    out = tmp_path / "a.onnx"
    result = frcnn("export", "-m", model, "-k", "secret", "-o", out, "--data_type", "int8")
    assert result.exit_code == 2
    assert "Give a folder of images with --cal_image_dir DIR" in result.output
    assert not out.exists()


@pytest.mark.slow
def test_a_model_with_ranges_of_its_own_needs_no_images(
    frcnn, formats, tiny_model, images, tmp_path
):
    detector = tiny_model.detector
    trained = FasterRCNN(
        **quantize(detector.parts, per_channel_weights=False), anchors=detector.anchors
    )
    archive.write(tmp_path / "qat.tlt", replace(tiny_model, detector=trained).to_archive())
    command = ["export", "-m", tmp_path / "qat.tlt", "--cal_image_dir", images, *INT8]
    result = frcnn(*command, "-o", tmp_path / "a.onnx")
    assert result.exit_code == 0, result.output
    assert "No effect without --force_ptq: --cal_image_dir, --batches" in result.output
    assert "calibrated" not in (tmp_path / "a.onnx").read_text()
    cache = ["--cal_cache_file", tmp_path / "b.bin"]
    frcnn(*command, "-o", tmp_path / "b.onnx", "--force_ptq", *cache)
    assert "calibrated on [(3, 32, 48, 3)]" in (tmp_path / "b.onnx").read_text()


INT8 = ["--data_type", "int8", "--batches", "1", "--batch_size", "3"]


def test_a_file_beside_the_output_is_not_replaced_either(frcnn, formats, model, images, tmp_path):
    (tmp_path / "cal.bin").write_text("mine")
    out = tmp_path / "a.onnx"
    command = ["export", "-m", model, "-k", "secret", "-o", out, *INT8, "--cal_image_dir", images]
    result = frcnn(*command)
    assert result.exit_code == 2
    assert f"{tmp_path / 'cal.bin'} exists. Give another name" in result.output
    assert not out.exists()
    result = frcnn(*command, "--force")
    assert result.exit_code == 0, result.output
    assert "data_type='int8'" in (tmp_path / "cal.bin").read_text()


def test_force_replaces_what_is_there_and_a_failure_brings_it_back(frcnn, formats, model, tmp_path):
    out = tmp_path / "a.onnx"
    out.write_text("old")
    export = ["export", "onnx", "-m", model, "-k", "secret", "-o", out, "--force"]
    failed = frcnn(*export, "--outputs", "broken")
    assert failed.exit_code == 2
    assert "a layer cannot be expressed" in failed.output
    assert out.read_text() == "old"
    result = frcnn(*export)
    assert result.exit_code == 0, result.output
    assert "outputs='nms'" in out.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "tiny.tlt"]


def test_the_model_itself_is_never_replaced(frcnn, formats, model):
    before = model.read_bytes()
    result = frcnn("export", "onnx", "-m", model, "-k", "secret", "-o", model, "--force")
    assert result.exit_code == 2
    assert "is the model itself" in result.output
    assert model.read_bytes() == before


@pytest.mark.slow
def test_two_files_do_not_share_a_name(frcnn, formats, model):
    flags = ["-o", "a.onnx", "--engine_file", "a.onnx"]
    result = frcnn("export", "-m", model, "-k", "secret", *flags)
    assert result.exit_code == 2
    assert "a.onnx would be written twice" in result.output
    assert not Path("a.onnx").exists()
