import logging

import pytest

from frcnn_core import precision


@pytest.fixture
def cpu_flags(tmp_path, monkeypatch):
    def write(flags: str) -> None:
        file = tmp_path / "cpuinfo"
        file.write_text(f"flags : {flags}\n")
        monkeypatch.setattr(precision, "CPU_FLAGS", file)

    return write


def test_without_amp_everything_is_float32():
    assert precision.policy(use_amp=False) == "float32"


def test_amp_on_a_cpu_with_bfloat16_says_nothing(cpu_flags, caplog):
    cpu_flags("fpu avx512f avx512_bf16")
    with caplog.at_level(logging.WARNING):
        assert precision.policy(use_amp=True) == "mixed_bfloat16"
    assert not caplog.records


def test_amp_on_a_cpu_without_bfloat16_warns_that_it_is_slower(cpu_flags, caplog):
    cpu_flags("fpu avx2 fma")
    assert precision.policy(use_amp=True) == "mixed_bfloat16"
    assert "slower" in caplog.text
