import importlib.util
import json
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format

from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.testing.exporter import small_model
from frcnn_onnx import Onnx
from frcnn_onnx.build import build
from frcnn_onnx.options import OnnxOptions
from frcnn_onnx.triton import configuration

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def schema():
    """Triton's own messages; the package's own import would ask for grpc."""
    package = pytest.importorskip("tritonclient")
    path = Path(package.__path__[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(schema, model, **given):
    """The export's graph, and Triton's reading of the configuration."""
    proto = build(model, SETTINGS, OnnxOptions(**given)).proto
    return proto, text_format.Parse(configuration("small", proto), schema.ModelConfig())


def shapes(schema, tensors):
    """Name, type and dims as Triton has them; those of a reshape are the model's."""
    return [
        (
            tensor.name,
            schema.DataType.Name(tensor.data_type),
            list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims),
        )
        for tensor in tensors
    ]


def of_graph(tensors, skip):
    types = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT32: "TYPE_INT32"}
    types[onnx.TensorProto.UINT8] = "TYPE_UINT8"
    return [
        (
            tensor.name,
            types[tensor.type.tensor_type.elem_type],
            [dim.dim_value or -1 for dim in tensor.type.tensor_type.shape.dim][skip:],
        )
        for tensor in tensors
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"outputs": "named"},
        {"image_sizes": True},
        {"static_batch_size": 2},
        {"static_batch_size": 2, "outputs": "named"},
        {"embed_preprocessing": True},
    ],
)
def test_the_configuration_describes_the_exported_graph(schema, model, given):
    proto, config = described(schema, model, **given)
    skip = 0 if "static_batch_size" in given else 1
    assert config.max_batch_size == (0 if "static_batch_size" in given else 16)
    assert shapes(schema, config.input) == of_graph(proto.graph.input, skip)
    assert shapes(schema, config.output) == of_graph(proto.graph.output, skip)
    assert all(tensor.dims for tensor in (*config.input, *config.output)), "Triton wants one"


def test_it_is_run_by_onnx_runtime_wherever_there_is_a_device(schema, model):
    _, config = described(schema, model)
    assert config.name == "small"
    assert config.platform == "onnxruntime_onnx"
    (group,) = config.instance_group
    assert schema.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_AUTO"


def test_requests_are_joined_where_no_output_counts_images(schema, model):
    """A row of NMS begins with the image's number in the batch that the graph saw."""
    assert described(schema, model, outputs="named")[1].HasField("dynamic_batching")
    assert not described(schema, model)[1].HasField("dynamic_batching")
    fixed = described(schema, model, outputs="named", static_batch_size=2)[1]
    assert not fixed.HasField("dynamic_batching")


def test_clients_are_told_classes_and_preprocessing(schema, model):
    _, config = described(schema, model)
    told = {name: json.loads(value.string_value) for name, value in config.parameters.items()}
    assert told["class_names"] == ["car", "person"]
    assert told["preprocessing"] == model.preprocessing.as_dict()


def test_the_repository_has_tritons_layout(model, tmp_path):
    options = OnnxOptions(gen_triton=True)
    written = Onnx().export(model, tmp_path / "small.onnx", settings=SETTINGS, options=options)
    assert written == [tmp_path / "small.onnx", tmp_path / "small_triton"]
    files = {
        path.relative_to(written[1]).as_posix() for path in written[1].rglob("*") if path.is_file()
    }
    assert files == {"small/config.pbtxt", "small/1/model.onnx"}
    assert (written[1] / "small/1/model.onnx").read_bytes() == written[0].read_bytes()
    assert 'name: "small"' in (written[1] / "small/config.pbtxt").read_text()


@pytest.mark.slow
def test_a_repository_that_exists_is_left_alone(model, tmp_path):
    (tmp_path / "small_triton").mkdir()
    options = OnnxOptions(gen_triton=True)
    with pytest.raises(FrcnnError, match="small_triton"):
        Onnx().export(model, tmp_path / "small.onnx", settings=SETTINGS, options=options)
    assert [path.name for path in tmp_path.rglob("*")] == ["small_triton"]
