"""Each backbone of the documentation trains on the sample data, is saved, loaded and evaluated."""

import json
import re

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main
from frcnn_core.sample_data import generate

pytestmark = pytest.mark.slow

TWO_KINDS = ("resnet:10", "mobilenet_v2")
"""Of plain and of depthwise convolutions.  What is each family's own has the contract's tests."""
OTHERS = (
    *("resnet:18", "resnet:34", "resnet:50", "resnet:101", "vgg:16", "vgg:19", "googlenet"),
    *("mobilenet_v1", "darknet:19", "darknet:53", "efficientnet:b0", "efficientnet:b1"),
)
EPOCHS = 3

SMALLEST = f"""
model_config {{
  # Of so few small images, statistics that are measured once are too rough for 23 blocks in a row.
  freeze_bn: False
  input_image_config {{ size_height_width {{ height: 96 width: 96 }} }}
  roi_pooling_config {{ pool_size: 2 }}
  roi_mini_batch: 8
}}
augmentation_config {{
  preprocessing {{ output_image_width: 96 output_image_height: 96 enable_auto_resize: True }}
}}
training_config {{
  enable_augmentation: False
  batch_size_per_gpu: 4
  num_epochs: {EPOCHS}
  rpn_mini_batch: 32
  rpn_pre_nms_top_N: 100
  rpn_nms_max_boxes: 20
}}
evaluation_config {{
  validation_period_during_training: {EPOCHS} rpn_pre_nms_top_N: 100 rpn_nms_max_boxes: 20
}}
"""
"""What makes the sample data's spec quick, for any network."""


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A few pictures as records, and the sample data's spec."""
    folder = tmp_path_factory.mktemp("data") / "street"
    data = generate(folder, 20, num_test_images=0, width=160, height=160, val_split=20)
    frcnn("dataset_convert", "-d", data.dataset_spec, "-o", folder / "tfrecords/street")
    return data


def frcnn(*arguments) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    "arch",
    [
        *TWO_KINDS,
        *(pytest.param(arch, marks=pytest.mark.conformance) for arch in OTHERS),
    ],
)
def test_three_epochs_lower_the_loss_and_the_model_evaluates(arch, street, tmp_path):
    spec = tmp_path / "spec.txt"
    text = re.sub(r'arch: ".*"', f'arch: "{arch}"', street.train_spec.read_text())
    text, replaced = re.subn(r'(key: "base_lr" value: )"\S+"', r'\1"0.0002"', text)
    assert replaced == 1
    spec.write_text(text + SMALLEST)
    frcnn("train", "-e", spec, "-r", tmp_path)

    lines = [json.loads(line) for line in (tmp_path / "status.json").open()]
    losses = [line["graphical"]["loss"] for line in lines if "epoch" in line]
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]

    model = tmp_path / f"frcnn_{arch.replace(':', '_')}.epoch_{EPOCHS}.tlt"
    frcnn("evaluate", "-e", spec, "-m", model, "--json", tmp_path / "evaluation.json")
    found = json.loads((tmp_path / "evaluation.json").read_text())
    during_training = next(line["kpi"] for line in reversed(lines) if "kpi" in line)
    assert found["metrics"]["voc12"]["mAP"] == pytest.approx(during_training["voc12"], abs=1e-6)
