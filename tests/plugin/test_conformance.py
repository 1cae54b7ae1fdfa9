import os
from fractions import Fraction

import pytest

from frcnn_core.errors import SpecError
from frcnn_core.plugin import conformance
from frcnn_core.plugin.conformance import Check


class Suite:
    """Stands for a contract: has a component, and checks."""

    component = Fraction(1, 2)  # of a module that has no part in it

    def pytest_generate_tests(self, metafunc):
        if "variant" in metafunc.fixturenames:
            metafunc.parametrize("variant", ["s", "l"], scope="class")

    def test_it_is_well(self):
        pass


def outcomes(**checks):
    """What became of a suite with these further checks, in order."""
    told = []
    counts = conformance.run(
        lambda: type("Suite", (Suite,), checks), started=lambda check: None, finished=told.append
    )
    assert counts.total() == len(told)
    return told


def outcome(check):
    """What became of one check."""
    return outcomes(test_it=check, test_it_is_well=None)[0]


@pytest.mark.slow
def test_a_check_is_a_sentence():
    (one,) = outcomes()
    assert one == conformance.Outcome(Check("it is well"), "ok")


@pytest.mark.slow
def test_parameters_are_told_in_words():
    @pytest.mark.parametrize("training", [False, True])
    def test_it_runs(self, variant, training):
        pass

    told = [one.check for one in outcomes(test_it_runs=test_it_runs) if one.check.variant == "s"]
    assert told == [Check("it runs (training False)", "s"), Check("it runs (training True)", "s")]


@pytest.mark.slow
def test_one_variant_comes_after_another_and_what_is_of_none_before_them():
    def test_a(self, variant):
        pass

    def test_b(self, variant):
        pass

    told = outcomes(
        test_a=test_a, test_b=test_b, test_it_is_well=None, test_z=Suite.test_it_is_well
    )
    assert [(one.check.sentence, one.check.variant) for one in told] == [
        ("z", ""),
        ("a", "s"),
        ("b", "s"),
        ("a", "l"),
        ("b", "l"),
    ]


@pytest.mark.slow
def test_a_failed_check_says_why():
    def check(self):
        assert 1 + 1 == 3, "sums are off"

    told = outcome(check)
    assert told.result == "failed"
    assert told.reason.startswith("sums are off")


@pytest.mark.slow
def test_an_error_names_its_kind():
    def check(self):
        raise ValueError("no such layer")

    assert outcome(check).reason.startswith("ValueError: no such layer")


@pytest.mark.slow
def test_a_fixture_that_fails_fails_its_check():
    @pytest.fixture
    def drawing(self):
        raise ValueError("it cannot be drawn")

    def check(self, drawing):
        pass

    (told,) = outcomes(test_it=check, drawing=drawing, test_it_is_well=None)
    assert (told.result, told.reason[:28]) == ("failed", "ValueError: it cannot be dra")


@pytest.mark.slow
def test_a_skipped_check_says_why():
    def check(self):
        pytest.skip("there is no GPU")

    assert (outcome(check).result, outcome(check).reason) == ("skipped", "there is no GPU")


def test_a_long_reason_is_cut():
    def check(self):
        raise ValueError("\n\n".join(f"\x1b[1mline {number}\x1b[0m" for number in range(20)))

    lines = outcome(check).reason.splitlines()
    assert lines[:3] == ["ValueError: line 0", "line 1", "line 2"]
    assert len(lines) == conformance.REASON_LINES + 1 and lines[-1] == "..."


def test_an_error_in_the_plugin_is_told_with_its_place(site):
    site.install("acme 1.0", "acme", "class Net:\n    def draw(self):\n        return 1 / 0\n")
    from plugin_of_acme import Net

    suite = type("Suite", (Suite,), {"component": Net(), "test_it": lambda self: Net().draw()})
    told = []
    conformance.run(lambda: suite, started=lambda check: None, finished=told.append)
    place = f"at {site.folder / 'plugin_of_acme.py'}, line 3, in draw"
    assert told[-1].reason == f"ZeroDivisionError: division by zero\n{place}"


def test_a_check_is_announced_before_it_runs():
    seen = []

    def check(self):
        seen.append("runs")

    conformance.run(
        lambda: type("Suite", (Suite,), {"test_it": check, "test_it_is_well": None}),
        started=lambda check: seen.append(check.sentence),
        finished=lambda outcome: seen.append(outcome.result),
    )
    assert seen == ["it", "runs", "ok"]


def test_a_suite_that_cannot_be_made_raises_its_error(capfd):
    def suite():
        raise SpecError("base_lr: set it")

    with pytest.raises(SpecError, match="base_lr"):
        conformance.run(suite, started=print, finished=print)
    assert capfd.readouterr() == ("", "")


def test_a_suite_of_nothing_is_an_error():
    with pytest.raises(RuntimeError, match="NO_TESTS_COLLECTED"):
        outcomes(test_it_is_well=None)


def test_ctrl_c_ends_it():
    def check(self):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcome(check)


def test_the_users_settings_of_pytest_do_not_matter(tmp_path, monkeypatch):
    tmp_path.joinpath("conftest.py").write_text("raise RuntimeError")
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\naddopts = --no-such-flag\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    monkeypatch.setenv("PYTEST_PLUGINS", "not_there")
    assert [one.result for one in outcomes()] == ["ok"]
    assert os.environ["PYTEST_ADDOPTS"] == "-k nothing"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conftest.py", "pytest.ini"]


def test_it_prints_nothing(capfd):
    def check(self):
        print("a line that Keras might print")

    assert outcome(check).result == "ok"
    assert capfd.readouterr() == ("", "")
