"""The line by which a process tells the launcher how it ended."""

import click
import pytest

from frcnn_core.cli.outcomes import Outcome, reported
from frcnn_core.errors import DataError, WorkerLost


def test_other_lines_are_no_outcomes():
    assert Outcome.of_line("Epoch 1/2: 8/8 images\n") is None


@pytest.mark.parametrize(
    "error, outcome",
    [
        (DataError("a.png: no\nimage"), Outcome("error", "a.png: no\nimage", 2)),
        (click.BadParameter("three", param_hint="--x"), ("error", "--x: three", 2)),
        (WorkerLost("gone"), Outcome("lost", "gone", 2)),
        (KeyboardInterrupt(), Outcome("interrupted", "Interrupted.", 130)),
    ],
)
def test_what_ends_a_block_comes_back_from_one_line(error, outcome, capsys):
    with pytest.raises(click.exceptions.Exit) as ended, reported():
        raise error
    (line,) = filter(str.strip, capsys.readouterr().err.splitlines())
    found = Outcome.of_line(line)
    assert ended.value.exit_code == found.exit_code
    if isinstance(outcome, tuple):
        kind, ending, code = outcome
        assert (found.kind, found.exit_code) == (kind, code) and found.message.endswith(ending)
    else:
        assert found == outcome


def test_of_a_bug_the_traceback_is_told(capsys):
    with pytest.raises(click.exceptions.Exit) as ended, reported():
        raise ZeroDivisionError("3 / 0")
    found = Outcome.of_line(capsys.readouterr().err.splitlines()[1])
    assert (found.kind, ended.value.exit_code) == ("bug", 1)
    assert "test_outcomes.py" in found.message and "ZeroDivisionError: 3 / 0" in found.message


@pytest.mark.slow
@pytest.mark.parametrize("ending", [None, click.exceptions.Exit(130)])
def test_a_block_that_ends_as_it_wants_to_tells_nothing(ending, capsys):
    try:
        with reported():
            if ending:
                raise ending
    except click.exceptions.Exit as raised:
        assert raised is ending
    assert capsys.readouterr().err == ""
