import subprocess
import sys

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main
from frcnn_core.spec.load import load_either, loads, loads_dataset_spec

EXPERIMENTS = [
    "dynamic_shape.txt",
    "kitti_resnet18.txt",
    "tao5_resnet50.txt",
    "train_on_folders.txt",
]
DATASETS = [
    "convert_coco.txt",
    "convert_kitti_random.txt",
    "convert_kitti_sequence.txt",
    "convert_kitti_shuffled.txt",
    "convert_voc.txt",
    "convert_yolo.txt",
]


@pytest.fixture
def examples(request):
    return request.config.rootpath / "examples" / "specs"


def run(*arguments):
    return CliRunner().invoke(main, ["spec", *map(str, arguments)])


@pytest.mark.parametrize("name", EXPERIMENTS + DATASETS)
def test_an_example_has_no_problems(examples, name):
    result = run("check", examples / name)
    assert result.output == f"{examples / name}: no errors, no warnings.\n"
    assert result.exit_code == 0


def test_errors_and_warnings_are_listed_and_the_exit_code_is_2(tmp_path):
    spec = tmp_path / "spec.txt"
    spec.write_text("inference_config {\n  rpn_nms_max_boxes: 0\n}\nrandom_seed: 1 random_seed: 2")
    result = run("check", spec, "--task", "export")
    assert result.output.splitlines() == [
        f"error: {spec}:2:3: inference_config.rpn_nms_max_boxes: 0 is not allowed. "
        "Type a number of at least 1.",
        f"warning: {spec}:4:16: random_seed: replaces the value of line 4.",
        f"{spec}: 1 error, 1 warning.",
    ]
    assert result.exit_code == 2


def test_a_spec_that_cannot_be_read_is_an_error_without_traceback(tmp_path):
    spec = tmp_path / "spec.txt"
    spec.write_text("random_sed: 1")
    result = run("check", spec)
    assert "random_sed: unknown field. Did you mean 'random_seed'?" in result.output
    assert "Traceback" not in result.output
    assert result.exit_code == 2


def test_a_task_looks_for_the_files_it_reads(examples):
    result = run("check", examples / "convert_kitti_random.txt", "--task", "dataset_convert")
    assert "kitti_config.root_directory_path: there is no such folder" in result.output
    assert result.exit_code == 2


def test_a_dataset_spec_is_refused_for_training(examples):
    result = run("check", examples / "convert_kitti_random.txt", "--task", "train")
    assert "this is a dataset spec, which `frcnn train` does not read." in result.output
    assert result.exit_code == 2


@pytest.mark.parametrize("name", EXPERIMENTS + DATASETS)
def test_a_spec_shown_and_read_again_is_the_same(examples, name):
    shown = run("show", examples / name).output
    read = loads if name in EXPERIMENTS else loads_dataset_spec
    spec = read(shown)
    assert spec.given == load_either(examples / name).message
    assert spec.message == spec.given


def test_showing_fills_in_the_defaults(tmp_path):
    spec = tmp_path / "spec.txt"
    spec.write_text("model_config { arch: 'resnet:10' }")
    shown = run("show", spec).output
    assert '  arch: "resnet:10"\n' in shown
    assert "  num_epochs: 12\n" in shown


@pytest.mark.slow
def test_specs_are_read_without_tensorflow_or_numpy(examples):
    code = (
        "import sys\n"
        "from frcnn_core.cli import main\n"
        f"main(['spec', 'check', {str(examples / EXPERIMENTS[0])!r}], standalone_mode=False)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
