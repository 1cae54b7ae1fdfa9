"""``frcnn prune`` as typed, on a toy detector."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import toy
from click.testing import CliRunner

from frcnn_core.cli import main
from frcnn_core.cli.prune import prune
from frcnn_core.model_files import archive, encryption
from frcnn_core.model_files.model import Model
from frcnn_core.pruning import DEFAULT_THRESHOLD, Criterion, Plan

KEY = "nvidia_tlt"
SMALL = ("-pg", "1", "-nf", "2")
"""For a network of eight to sixteen channels."""


@pytest.fixture(autouse=True)
def toy_is_installed(monkeypatch):
    monkeypatch.setattr("frcnn_core.plugin.installed", toy.plugins)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model file that is not encrypted, of a checkpoint of the third epoch."""
    path = tmp_path_factory.mktemp("model") / "trained.tlt"
    model = toy.model(freeze_blocks=frozenset({0}))
    model.progress = {"epoch": 3}
    archive.write(path, model.to_archive())
    return path


@pytest.fixture
def trained(written, tmp_path):
    """A copy of that file."""
    return Path(shutil.copy(written, tmp_path))


def frcnn(*arguments):
    return CliRunner().invoke(main, ["prune", *map(str, arguments)])


def refused(*arguments):
    result = frcnn(*arguments)
    assert result.exit_code == 2, result.output
    return result.output


def opened(path, key=""):
    return Model.from_archive(archive.read(path, key))


def filters(model):
    return {
        layer.name: layer.filters
        for part in model.detector.parts.values()
        for layer in part.layers
        if hasattr(layer, "filters")
    }


# Pruning ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_documentations_example_runs_as_written(trained, tmp_path, monkeypatch):
    weights = tmp_path / "output" / "weights"
    archive.write(weights / "resnet_003.tlt", archive.read(trained), KEY)
    monkeypatch.chdir(tmp_path)
    line = """-m output/weights/resnet_003.tlt
        -o output/weights/resnet_003_pruned.tlt
        -eq union
        -pth 0.7
        -k nvidia_tlt"""
    result = frcnn(*line.split())
    assert result.exit_code == 0, result.output
    written = weights / "resnet_003_pruned.tlt"
    assert encryption.is_encrypted(written.read_bytes())
    assert opened(written, KEY).history[-1]["threshold"] == 0.7
    assert str(written.relative_to(tmp_path)) in result.output.splitlines()[-1]


@pytest.mark.slow
def test_every_flag_has_its_say(trained, tmp_path):
    given = {
        "normalizer": "L2",
        "equalization": "geometric_mean",
        "granularity": 3,
        "min_num_filters": 5,
        "threshold": 4.0,
    }
    flags = "-n L2 -eq geometric_mean -pg 3 -nf 5 -pth 4"
    output = tmp_path / "pruned.tlt"
    result = frcnn("-m", trained, "-o", output, *flags.split())
    assert result.exit_code == 0, result.output
    model = opened(output)
    (event,) = model.history
    assert {name: event[name] for name in given} == given
    expected = Plan(
        opened(trained).detector.parts,
        Criterion("L2", "geometric_mean", granularity=3, min_num_filters=5),
    ).num_parameters(4.0)
    assert model.num_parameters == expected
    assert {"conv0": 6, "conv1": 6}.items() <= filters(model).items()  # 5 and up, by 3


@pytest.mark.slow
def test_long_names_are_the_documentations_too(trained, tmp_path):
    flags = (
        "--normalizer max --equalization_criterion union --pruning_granularity 8"
        " --pruning_threshold 0.1 --min_num_filters 16 --gpu_index 0"
    )
    result = frcnn("--model", trained, "--output_file", tmp_path / "out.tlt", *flags.split())
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_defaults_are_the_documentations(trained, tmp_path):
    frcnn("-m", trained, "-o", tmp_path / "out.tlt")
    (event,) = opened(tmp_path / "out.tlt").history
    assert (event["threshold"], event["granularity"], event["min_num_filters"]) == (0.1, 8, 16)
    assert (event["normalizer"], event["equalization"]) == ("max", "union")


@pytest.mark.slow
def test_excluded_layers_keep_their_filters(trained, tmp_path):
    flags = ("-el", "conv1", "head/head_conv", "-pth", 1, *SMALL)
    result = frcnn("-m", trained, "-o", tmp_path / "out.tlt", *flags)
    assert result.exit_code == 0, result.output
    found = filters(opened(tmp_path / "out.tlt"))
    assert {"conv0": 2, "conv1": 8, "conv2": 2, "head_conv": 16}.items() <= found.items()
    assert "features/conv1 was named to keep its channels" in " ".join(result.output.split())


@pytest.mark.slow
def test_a_target_ratio_finds_the_threshold_and_says_it(trained, tmp_path):
    first, second = tmp_path / "first.tlt", tmp_path / "second.tlt"
    result = frcnn("-m", trained, "-o", first, "--target-ratio", 0.3, *SMALL)
    assert result.exit_code == 0, result.output
    (event,) = opened(first).history
    assert event["parameters"] <= 0.3 * event["parameters_before"]
    frcnn("-m", trained, "-o", second, "-pth", f"{event['threshold']:g}", *SMALL)
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_a_pruned_model_has_no_progress_and_can_be_pruned_again(trained, tmp_path):
    first, second = tmp_path / "first.tlt", tmp_path / "second.tlt"
    before = trained.read_bytes()
    frcnn("-m", trained, "-o", first, "--target-ratio", 0.5, *SMALL)
    frcnn("-m", first, "-o", second, "--target-ratio", 0.5, *SMALL)
    assert opened(first).progress == {}
    sizes = [opened(path).num_parameters for path in (trained, first, second)]
    assert sizes[1] <= sizes[0] / 2 and sizes[2] <= sizes[1] / 2
    assert trained.read_bytes() == before


@pytest.mark.slow
def test_without_a_key_nothing_is_encrypted_and_with_one_it_is(trained, tmp_path):
    for name, key in (("plain.tlt", ()), ("secret.tlt", ("-k", KEY))):
        assert frcnn("-m", trained, "-o", tmp_path / name, *key).exit_code == 0
        assert encryption.is_encrypted((tmp_path / name).read_bytes()) == bool(key)


# What is shown ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_tells_of_every_layer_and_of_the_whole(trained, tmp_path):
    report = tmp_path / "report.json"
    flags = ("-pth", 1, *SMALL, "--json", report)
    result = frcnn("-m", trained, "-o", tmp_path / "out.tlt", *flags)
    assert result.exit_code == 0, result.output
    lines = [line.replace("│", " ").split() for line in result.output.splitlines()]
    assert ["features/conv0", "8", "2", "25%", "frozen"] in lines
    assert ["features/conv3", "16", "2", "12%"] in lines
    assert ["rpn/rpn_out_class", "2", "2", "100%", "whole"] in lines
    model = opened(tmp_path / "out.tlt")
    before = opened(trained).num_parameters
    assert f"Parameters: {before:,} -> {model.num_parameters:,} (" in result.output
    assert "one image of 64 x 64, height x width, with 300 RoIs" in result.output
    content = json.loads(report.read_text())
    assert content["after"]["parameters"] == model.num_parameters
    assert content["ratio"] == model.num_parameters / before
    assert content["output_bytes"] == os.path.getsize(tmp_path / "out.tlt")
    (conv3,) = [layer for layer in content["layers"] if layer["layer"] == "features/conv3"]
    assert (conv3["before"], conv3["after"]) == (16, 2)


@pytest.mark.slow
def test_that_nothing_was_pruned_is_told(trained, tmp_path):
    result = frcnn("-m", trained, "-o", tmp_path / "out.tlt", "-pth", 0)
    assert "Nothing was pruned" in result.output and "--sweep" in result.output
    result = frcnn("-m", trained, "-o", tmp_path / "smaller.tlt", "-pth", 1, *SMALL)
    assert "Nothing was pruned" not in result.output


@pytest.mark.slow
def test_a_sweep_shows_thresholds_and_writes_no_model(trained, tmp_path):
    table = tmp_path / "sweep.json"
    before = set(tmp_path.iterdir())
    result = frcnn("-m", trained, "--sweep", *SMALL, "--json", table)
    assert result.exit_code == 0, result.output
    assert set(tmp_path.iterdir()) - before == {table}
    rows = json.loads(table.read_text())["sweep"]
    assert rows[0]["ratio"] == 1
    for row in rows[:: len(rows) - 1]:
        assert (
            f"{row['threshold']:g}" in result.output and f"{row['parameters']:,}" in result.output
        )
    middle = rows[len(rows) // 2]
    frcnn("-m", trained, "-o", tmp_path / "out.tlt", "-pth", middle["threshold"], *SMALL)
    assert opened(tmp_path / "out.tlt").num_parameters == middle["parameters"]


@pytest.mark.slow
def test_status_json_is_written_where_asked(trained, tmp_path):
    frcnn("-m", trained, "-o", tmp_path / "out.tlt", "--results_dir", tmp_path / "results")
    lines = (tmp_path / "results" / "status.json").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["STARTED", "SUCCESS"]


# Mistakes ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, told",
    [
        (("-pth", 1.5), "pruning_threshold: 1.5 is out of range"),
        (("-pth", -0.1), "pruning_threshold: -0.1 is out of range"),
        (("-pg", 0), "pruning_granularity: 0 is no number of filters"),
        (("-nf", 0), "min_num_filters: 0 is no number of filters"),
        (("-eq", "sum"), "'union', 'intersection'"),
        (("-n", "L1"), "'max', 'L2'"),
        (("--target-ratio", 30), "between 0 and 1"),
        (("--target-ratio", 0.001, *SMALL), "cannot be reached"),
        (("--target-ratio", 0.5, "-pth", 0.5), "not both"),
        (("-el", "conv1", "hed_conv", "xyz"), "Did you mean head_conv"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(trained, tmp_path, flags, told):
    assert told in refused("-m", trained, "-o", tmp_path / "out.tlt", *flags)
    assert not (tmp_path / "out.tlt").exists()


def test_a_sweep_takes_no_threshold(trained):
    assert "leave out -pth" in refused("-m", trained, "--sweep", "-pth", 0.5)


def test_a_file_to_write_has_to_be_named(trained):
    assert "-o FILE, or --sweep" in refused("-m", trained)


@pytest.mark.slow
def test_a_file_that_exists_is_replaced_only_when_asked(trained, tmp_path):
    output = tmp_path / "out.tlt"
    output.write_text("of another run")
    assert "--overwrite" in refused("-m", trained, "-o", output)
    assert output.read_text() == "of another run"
    assert frcnn("-m", trained, "-o", output, "--overwrite").exit_code == 0
    assert opened(output).history


def test_the_model_itself_is_never_replaced(trained, tmp_path):
    before = trained.read_bytes()
    (tmp_path / "link.tlt").symlink_to(trained)
    for output in (trained, tmp_path / "link.tlt", tmp_path / "sub" / ".." / "trained.tlt"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        assert "never replaced" in refused("-m", trained, "-o", output, "--overwrite")
    assert trained.read_bytes() == before


def test_a_wrong_key_is_told(trained, tmp_path):
    secret = tmp_path / "secret.tlt"
    archive.write(secret, archive.read(trained), KEY)
    for key, told in (((), "give its key with -k"), (("-k", "other"), "the key is wrong")):
        assert told in refused("-m", secret, "-o", tmp_path / "out.tlt", *key)
    assert not (tmp_path / "out.tlt").exists()


def test_what_is_no_model_is_told(tmp_path):
    assert "there is no such file" in refused("-m", tmp_path / "no.tlt", "-o", tmp_path / "o.tlt")
    (tmp_path / "text.tlt").write_text("hello")
    output = refused("-m", tmp_path / "text.tlt", "-o", tmp_path / "o.tlt")
    assert "not a model file of frcnn" in output


# The documentation ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_guide_has_every_flag_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text()
    rows = {}
    for names, default in re.findall(r"^\| (`-[^|]*) \|([^|]*)\|", page, re.MULTILINE):
        for name in re.findall(r"`(-[\w-]+)`", names):
            rows[name] = default.strip("` ")
    elsewhere = {"--gpu_index", "--log_file", "-v", "--overwrite"}  # in the prose
    for param in prune.params:
        named = rows.keys() & set(param.opts)
        assert named or elsewhere & set(param.opts), param.opts
        shown = param.default if isinstance(param.default, int | str) else ""
        if not param.is_flag and param.name != "pruning_threshold":
            assert {rows[name] for name in named} <= {str(shown)}
    assert rows["-pth"] == str(DEFAULT_THRESHOLD)
