import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from frcnn_core import Exporter
from frcnn_core.model_files import archive
from frcnn_core.plugin.components import Runtime
from frcnn_core.testing import ExporterContract


class Copy(Exporter):
    """The model as frcnn's own files hold it, with the settings beside it."""

    name = "copy"
    summary = "for tests"
    suffix = ".copy"

    def export(self, model, output, *, settings, options):
        beside = output.with_suffix(".json")
        beside.write_text(json.dumps(asdict(settings)))
        archive.write(output, model.to_archive())
        return [output, beside]

    def writes(self, output, options):
        return [output, output.with_suffix(".json")]

    def load(self, path, *, key=""):
        from frcnn_core.detector.settings import DetectionSettings
        from frcnn_core.model_files.model import Model

        settings = DetectionSettings(**json.loads(path.with_suffix(".json").read_text()))
        model = Model.from_archive(archive.read(path))
        return Runtime(
            lambda images, sizes: model.detector.detect(images, sizes, settings),
            model.class_names,
            model.preprocessing,
        )


class Secretive(Copy):
    def export(self, model, output, **given):
        return super().export(model, output, **given)[:1]


class Unannounced(Copy):
    def writes(self, output, options):
        return [output]


class Tidy(Copy):
    def export(self, model, output, **given):
        for path in output.parent.iterdir():
            path.unlink()
        return super().export(model, output, **given)


class InItsOwnPlace(Copy):
    def export(self, model, output, **given):
        return super().export(model, output.with_name("model.copy"), **given)


class Halving(Copy):
    def export(self, model, output, **given):
        for variable in model.detector.trainable_variables:
            variable.assign(np.float16(variable.numpy()))
        return super().export(model, output, **given)


class Greedy(Copy):
    def recognises(self, path):
        return True


class WithItsOwnSettings(Copy):
    def export(self, model, output, *, settings, options):
        settings = replace(settings, classifier_nms_max_boxes=5)
        return super().export(model, output, settings=settings, options=options)


class Needy(Copy):
    requires = ("tensorrt_that_is_not_there",)


def contract_of(component):
    return type("Contract", (ExporterContract,), {"exporter": component})


@pytest.mark.slow
def test_a_good_exporter_passes(failures):
    assert failures(contract_of(Copy())) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, check",
    [
        (Secretive, "test_it_writes_nothing_else_and_leaves_other_files_alone"),
        (Tidy, "test_it_writes_nothing_else_and_leaves_other_files_alone"),
        (InItsOwnPlace, "test_it_tells_what_it_wrote_the_main_path_first"),
        (Unannounced, "test_it_has_named_before_what_it_wrote"),
        (Halving, "test_the_model_is_left_as_it_was"),
        (Greedy, "test_it_recognises_what_it_wrote_and_nothing_else"),
        (WithItsOwnSettings, "test_what_it_wrote_detects_what_the_model_detects"),
    ],
)
def test_a_broken_one_fails(failures, broken, check):
    assert failures(contract_of(broken()), check)


@pytest.mark.slow
def test_one_whose_modules_are_missing_is_skipped(failures):
    assert failures(contract_of(Needy())) == {}
