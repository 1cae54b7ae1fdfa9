import pytest

from .torch_writer import write_old, write_zip


@pytest.fixture(params=[write_zip, write_old])
def write(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"
