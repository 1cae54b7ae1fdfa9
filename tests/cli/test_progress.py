import pytest

from frcnn_core.cli.progress import progress, progress_of


def seconds(*times):
    """A clock that shows these times one after the other."""
    return iter(times).__next__


def test_lines_tell_rate_and_time_left(capsys):
    clock = seconds(0, 2, 8, 10)
    with progress("Epoch 1/2", 40, unit="images", clock=clock, interval=5) as advance:
        advance(10, loss="0.5")
        advance(10, loss="0.25")
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1/2: 20/40 images, 2.5 images/s, 0:00:08 left, loss 0.25",
        "Epoch 1/2: 20/40 images, 2 images/s, took 0:00:10, loss 0.25",
    ]


def test_the_rate_is_that_since_the_last_line(capsys):
    clock = seconds(0, 100, 110, 111)
    with progress("Training", 300, unit="steps", clock=clock) as advance:
        advance(1)
        advance(50)
    first, second, _ = capsys.readouterr().out.splitlines()
    assert "0.01 steps/s, 8:18:20 left" in first
    assert "5 steps/s, 0:00:50 left" in second


def test_a_function_that_counts_itself_is_followed(capsys):
    with progress_of("Reading") as report:
        for done in (1, 2, 3):
            report(done, 3)
    assert capsys.readouterr().out.startswith("Reading: 3/3 images")


@pytest.mark.slow
def test_nothing_is_shown_before_something_is_counted(capsys):
    with progress_of("Reading"):
        pass
    assert capsys.readouterr().out == ""
