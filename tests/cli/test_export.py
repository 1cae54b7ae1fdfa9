import json
from dataclasses import dataclass, field, replace

import pytest
from click.testing import CliRunner

from frcnn_core import Exporter, archive, plugins
from frcnn_core.cli import main
from frcnn_core.registry import Registered

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


def test_a_format_can_be_named(frcnn, model, tmp_path):
    result = frcnn("export", "saved_model", "-m", model, "-k", "secret", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"Written: {tmp_path / 'out'}" in result.output
    assert (tmp_path / "out" / "saved_model.pb").exists()


def test_the_ending_of_the_output_chooses_the_format(frcnn, model, tmp_path):
    result = frcnn("export", "-m", model, "-k", "secret", "-o", tmp_path / "a.saved_model")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.saved_model" / "saved_model.pb").exists()


def test_without_an_output_the_models_name_is_taken(frcnn, model, tmp_path):
    assert frcnn("export", "-m", model, "-k", "secret", "--format", "saved_model").exit_code == 0
    assert (tmp_path / "tiny.saved_model").is_dir()


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
    result = frcnn("export", "-m", model, "-o", "a.engine")
    assert result.exit_code == 2
    assert "By the ending of -o a.engine no format is chosen" in result.output
    assert "saved_model (.saved_model)" in result.output


def test_an_unknown_format_is_corrected(frcnn, model):
    result = frcnn("export", "savedmodel", "-m", model)
    assert result.exit_code == 2
    assert "Did you mean 'saved_model'?" in result.output


def test_an_int8_flag_names_the_exporter_that_would_be_needed(frcnn, model):
    result = frcnn("export", "-m", model, "--format", "saved_model", "--data_type", "int8", "-s")
    assert result.exit_code == 2
    for flag in ("data_type", "strict_type_constraints"):
        assert f"--{flag}: saved_model has no such option. It is one of tensorrt's" in result.output


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


class Engine(Exporter):
    name = "engine"
    summary = "an exporter with options"
    suffix = ".engine"

    @dataclass(frozen=True)
    class Options:
        max_batch_size: int = field(default=16, metadata={"help": "Images at once."})
        strict_type_constraints: bool = field(default=False, metadata={"help": "No fallback."})

    def export(self, model, output, *, settings, options):
        output.write_text(repr(options))
        return [output]


@pytest.fixture
def engine(monkeypatch):
    found = plugins.Plugins([])
    found.exporters.add(Registered(Engine(), "engine", "acme 1.0"))
    for entry in plugins.installed().backbones:
        found.backbones.add(entry)
    monkeypatch.setattr(plugins, "installed", lambda: found)


@pytest.mark.parametrize("command", [["export"], ["export", "engine"]])
def test_an_exporters_options_are_flags_of_both_spellings(frcnn, engine, model, tmp_path, command):
    out = tmp_path / "a.engine"
    flags = ["--max_batch_size", "4", "--strict_type_constraints"]
    result = frcnn(*command, "-m", model, "-k", "secret", "-o", out, *flags)
    assert result.exit_code == 0, result.output
    assert out.read_text() == "Engine.Options(max_batch_size=4, strict_type_constraints=True)"


def test_help_lists_an_exporters_options_with_their_defaults(frcnn, engine):
    output = frcnn("export", "engine", "--help").output
    assert "--max_batch_size A WHOLE NUMBER" in output
    assert "Images at once.  [default: 16]" in output


def test_a_value_of_the_wrong_type_says_what_is_expected(frcnn, engine, model):
    result = frcnn("export", "engine", "-m", model, "--max_batch_size", "many")
    assert result.exit_code == 2
    assert "frcnn export engine.max_batch_size: expected a whole number" in result.output
