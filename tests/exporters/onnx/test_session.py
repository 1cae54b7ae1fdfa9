import onnx
import pytest
from onnx import TensorProto, helper

from frcnn_core.errors import ModelFileError
from frcnn_onnx import session


def test_a_file_that_is_no_model_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x08half")
    with pytest.raises(ModelFileError, match=r"cut\.onnx cannot be run by ONNX Runtime"):
        session.load(path)


@pytest.mark.slow
def test_a_model_of_another_program_is_refused_by_name(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "theirs.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    with pytest.raises(ModelFileError, match=r"theirs\.onnx was not exported by frcnn"):
        session.load(path)
