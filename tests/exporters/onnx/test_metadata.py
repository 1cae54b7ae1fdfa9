import onnx
import pytest

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import ModelFileError
from frcnn_onnx import metadata
from frcnn_onnx.metadata import Metadata

DESCRIBED = Metadata(
    class_names=("car", "größe"),
    preprocessing=Preprocessing(height=64, width=96, channel_order="bgr", means=(1.5, 2, 3)),
    settings=DetectionSettings(rpn_nms_max_boxes=7),
    arch="resnet:18",
    outputs="named",
    embedded_preprocessing=True,
    precision="int8",
    spec_sha256="ab" * 32,
    versions={"frcnn": "1"},
)


def props(proto):
    return {entry.key: entry.value for entry in proto.metadata_props}


def test_what_is_written_is_read():
    proto = onnx.ModelProto()
    metadata.write(proto, DESCRIBED)
    assert metadata.of_proto(proto, "it") == DESCRIBED
    assert all(key.startswith("frcnn.") for key in props(proto))


def test_writing_again_replaces_and_keeps_what_others_wrote():
    proto = onnx.ModelProto()
    proto.metadata_props.add(key="theirs", value="kept")
    metadata.write(proto, DESCRIBED)
    number = len(proto.metadata_props)
    metadata.write(proto, DESCRIBED)
    assert len(proto.metadata_props) == number
    assert props(proto)["theirs"] == "kept"


def test_preprocessing_is_there_for_people_too():
    proto = onnx.ModelProto()
    metadata.write(proto, DESCRIBED)
    assert props(proto)["frcnn.preprocessing_text"] == DESCRIBED.preprocessing.describe()


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"frcnn.class_names": "[]"}, {"frcnn.class_names": "7"}])
def test_a_model_of_another_program_is_refused_by_name(given):
    with pytest.raises(ModelFileError, match=r"theirs\.onnx was not exported by frcnn"):
        metadata.read(given, "theirs.onnx")
