"""docs/spec-reference.md is complete; test_generated.py holds that it is current."""

from pathlib import Path

import pytest

from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig
from frcnn_core.spec.experiment_pb2 import Experiment

PAGE = (Path(__file__).parents[2] / "docs" / "spec-reference.md").read_text()


def messages(descriptor, found=None):
    """Every message under ``descriptor``, by name."""
    found = {} if found is None else found
    found[descriptor.name] = descriptor
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None and not inner.GetOptions().map_entry and inner.name not in found:
            messages(inner, found)
    return found


MESSAGES = messages(Experiment.DESCRIPTOR) | messages(DatasetExportConfig.DESCRIPTOR)


def rows(message):
    """The cells of the message's table, by field."""
    section = PAGE.split(f"\n### {message}\n")[1].split("\n#")[0]
    table = [line.strip("|").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in table}


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_is_explained(name):
    table = rows(name)
    assert set(table) == {field.name for field in MESSAGES[name].fields}
    for kind, _, meaning in table.values():
        assert kind
        assert meaning.endswith(".")


def test_a_default_is_what_a_spec_that_leaves_the_field_out_gets():
    assert rows("TrainingConfig")["num_epochs"][1] == "`12`"
    assert rows("AdamOptimizerConfig")["beta_1"][1] == "`0.9`"
    assert rows("AnchorBoxConfig")["ratio"][1] == "`1.0`, `0.5`, `2.0`"
    assert rows("InferenceConfig")["images_dir"][1] == ""
    assert rows("KITTIConfig")["partition_mode"][1] == '`"shuffled"`'


@pytest.mark.slow
def test_members_of_a_oneof_exclude_each_other():
    assert (
        "Excludes `gt_matching_iou_threshold`."
        in (rows("EvaluationConfig")["gt_matching_iou_threshold_range"][2])
    )
