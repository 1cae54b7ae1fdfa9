"""What every exporter must do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from frcnn_core.plugin import Backbone, Exporter, Registered
from frcnn_core.testing.component import ComponentContract

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    import keras

    from frcnn_core.detector import Blocks, DetectionSettings
    from frcnn_core.model_files import Model

    _Exported: TypeAlias = tuple[Model, Path, list[Path]]

HEIGHT, WIDTH = 64, 96


class ExporterContract(ComponentContract):
    """Subclass as ``class TestOnnx(ExporterContract): exporter = Onnx()``.

    Options without a default go into ``given``.  Where a module the exporter requires is missing,
    its tests are skipped.
    """

    exporter: Exporter

    tolerance: float = 1e-3
    """How much scores, and boxes in pixels, of an exported model may differ from the model's."""

    @property
    def component(self) -> Exporter:
        return self.exporter

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, tmp_path_factory: pytest.TempPathFactory) -> _Exported:
        """A small model, the folder it was exported to, and the answer of ``export``."""
        missing = Registered(cls.exporter, plugin="", distribution="").missing
        if missing:
            pytest.skip(f"{cls.exporter.name} needs {', '.join(missing)}")
        model, folder = small_model(), tmp_path_factory.mktemp("exported")
        folder.joinpath("somebody_elses.txt").write_text("keep me")
        written = cls.exporter.export(
            model,
            folder / f"small{cls.exporter.suffix}",
            settings=_settings(),
            options=cls().options(),
        )
        return model, folder, written

    def test_it_tells_what_it_wrote_the_main_path_first(self, exported: _Exported) -> None:
        _, folder, written = exported
        assert written[0] == folder / f"small{self.exporter.suffix}"
        assert all(path.exists() for path in written)

    def test_it_has_named_before_what_it_wrote(self, exported: _Exported) -> None:
        _, _, written = exported
        named = list(self.exporter.writes(written[0], self.options()))
        assert named[0] == written[0]
        assert set(written) <= set(named)

    def test_it_writes_nothing_else_and_leaves_other_files_alone(self, exported: _Exported) -> None:
        _, folder, written = exported
        assert set(folder.iterdir()) == {*written, folder / "somebody_elses.txt"}
        assert folder.joinpath("somebody_elses.txt").read_text() == "keep me"

    def test_the_model_is_left_as_it_was(self, exported: _Exported) -> None:
        model, _, _ = exported
        before, after = small_model().to_archive(), model.to_archive()
        assert after.parts == before.parts
        for name, weights in before.weights.items():
            np.testing.assert_array_equal(after.weights[name], weights, name)

    def test_it_recognises_what_it_wrote_and_nothing_else(self, exported: _Exported) -> None:
        _, folder, written = exported
        assert self.exporter.recognises(written[0])
        assert not self.exporter.recognises(folder / "somebody_elses.txt")

    def test_what_it_wrote_detects_what_the_model_detects(self, exported: _Exported) -> None:
        import tensorflow as tf

        if type(self.exporter).load is Exporter.load:
            pytest.skip(f"{self.exporter.name} files cannot be run by frcnn")
        model, _, written = exported
        runtime = self.exporter.load(written[0], key=getattr(self.options(), "key", ""))
        assert runtime.class_names == model.class_names
        assert runtime.preprocessing == model.preprocessing

        images = np.random.default_rng(0).standard_normal((2, HEIGHT, WIDTH, 3), "float32")
        smaller = [HEIGHT - 8, WIDTH - 16] if runtime.knows_sizes else [HEIGHT, WIDTH]
        sizes = np.array([[HEIGHT, WIDTH], smaller], "float32")
        expected = model.detector.detect(tf.constant(images), tf.constant(sizes), _settings())
        answer = runtime.detect(images, sizes)
        assert np.sum(expected.counts) > 0
        for name in ("boxes", "scores", "classes", "counts"):
            np.testing.assert_allclose(
                getattr(answer, name), getattr(expected, name), atol=self.tolerance, err_msg=name
            )


class _Smallest(Backbone):
    """One convolution before RoI pooling, and an average after it."""

    name = "smallest"

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        return blocks.conv(images, 8, 17, name="conv", block=None, strides=16)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        import keras

        return keras.layers.GlobalAveragePooling2D(name="average")(rois)


def small_model() -> Model:
    """A detector of two classes with random weights, the same ones every time."""
    import keras

    from frcnn_core.data import Preprocessing
    from frcnn_core.detector import Anchors, BackboneConfig, FasterRCNN, draw
    from frcnn_core.model_files import Model

    keras.utils.set_random_seed(1)
    anchors = Anchors(scales=(16.0, 32.0), ratios=(1.0,))
    parts = draw(
        _Smallest(),
        BackboneConfig(pool_size=3),
        channels=3,
        anchors_per_cell=anchors.per_cell,
        num_classes=2,
    )
    return Model(
        detector=FasterRCNN(*parts, anchors=anchors),
        class_names=("car", "person"),
        preprocessing=Preprocessing(height=HEIGHT, width=WIDTH),
        arch="smallest",
        spec="",
    )


def _settings() -> DetectionSettings:
    from frcnn_core.detector import DetectionSettings

    return DetectionSettings(
        rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
    )
