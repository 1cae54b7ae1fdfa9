"""The committed Python code is what the .proto files give."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    into = tmp_path_factory.mktemp("generated")
    subprocess.run([sys.executable, PROJECT / "protos" / "generate.py", "--into", into], check=True)
    return into


def files(root, pattern):
    return {path.relative_to(root): path.read_text() for path in root.glob(pattern)}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["frcnn_core/spec/*_pb2.py", "frcnn_core/spec/*_pb2.pyi"])
def test_the_committed_code_is_what_the_protos_give(generated, pattern):
    assert files(PROJECT, pattern) == files(generated, pattern)


@pytest.mark.slow
def test_the_committed_reference_is_what_the_protos_give(generated):
    page = Path("docs") / "spec-reference.md"
    assert (PROJECT / page).read_text() == (generated / page).read_text()
