import json
from datetime import datetime

import numpy as np
import pytest

from frcnn_core.errors import DataError
from frcnn_core.training.status import StatusLog


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    return StatusLog(tmp_path / "status.json", now=lambda: datetime(2026, 3, 9, 7, 5, 2))


def test_a_line_has_the_originals_fields_and_its_unpadded_date(log):
    log.write("Hello.", kpi={"mean average precision": 0.5})
    assert lines(log.path) == [
        {
            "date": "3/9/2026",
            "time": "7:5:2",
            "status": "RUNNING",
            "verbosity": "INFO",
            "message": "Hello.",
            "kpi": {"mean average precision": 0.5},
        }
    ]


def test_an_epoch_tells_how_long_the_rest_will_take(log):
    log.epoch(2, 5, seconds=3723.4, graphical={"loss": 1.5})
    (line,) = lines(log.path)
    assert (line["epoch"], line["max_epoch"]) == (2, 5)
    assert line["time_per_epoch"] == "1:02:03"
    assert line["eta"] == "3:06:10"
    assert line["graphical"] == {"loss": 1.5}
    assert "kpi" not in line


def test_numpy_numbers_are_numbers_and_not_a_number_is_null(log):
    log.write("", graphical={"a": np.float32(0.5), "b": [np.nan, np.int64(2)]})
    assert lines(log.path)[0]["graphical"] == {"a": 0.5, "b": [None, 2]}


def test_lines_of_earlier_runs_stay(tmp_path):
    for message in ("first", "second"):
        StatusLog(tmp_path / "run" / "status.json").write(message)
    assert [line["message"] for line in lines(tmp_path / "run" / "status.json")] == [
        "first",
        "second",
    ]


def test_a_line_that_a_crash_cut_does_not_spoil_the_next(log):
    log.path.write_text('{"date": "3/9')
    log.write("again")
    assert json.loads(log.path.read_text().splitlines()[1])["message"] == "again"


def test_a_run_that_ends_well_is_started_and_then_a_success(log):
    with log.running("Evaluation"):
        pass
    assert [line["status"] for line in lines(log.path)] == ["STARTED", "SUCCESS"]


@pytest.mark.parametrize(
    ("error", "verbosity", "message"),
    [
        (DataError("a.png is broken"), "ERROR", "Training failed: a.png is broken"),
        (KeyError("x"), "CRITICAL", "Training failed: KeyError: 'x'"),
        (KeyboardInterrupt(), "WARNING", "Training was interrupted."),
    ],
)
def test_a_run_that_fails_says_why_and_the_error_goes_on(log, error, verbosity, message):
    with pytest.raises(type(error)), log.running("Training"):
        raise error
    last = lines(log.path)[-1]
    assert (last["status"], last["verbosity"], last["message"]) == ("FAILURE", verbosity, message)


@pytest.mark.slow
def test_a_status_file_that_cannot_be_written_is_warned_about_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    log = StatusLog(tmp_path / "file" / "status.json")
    log.write("a")
    log.write("b")
    assert len(caplog.messages) == 1
    assert "status.json cannot be written" in caplog.messages[0]
