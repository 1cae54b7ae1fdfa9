import json

import pytest

from frcnn_core.survey.findings import KINDS, Finding, Severity
from frcnn_core.survey.report import Report


def test_findings_are_counted_and_the_first_are_kept():
    report = Report(keep=2)
    for number in range(5):
        report.add(Finding("zero-area", f"a.txt:{number}", "no width."))
    assert report.counts == {"zero-area": 5}
    assert [finding.place for finding in report.findings["zero-area"]] == ["a.txt:0", "a.txt:1"]
    assert report.lines()[-1] == (None, "  and 3 more.")


def test_the_worst_comes_first():
    report = Report()
    for code in ("empty-image", "unknown-class", "zero-area"):
        report.add(Finding(code, "a", "b."))
    assert [severity for severity, _ in report.lines() if severity] == list(Severity)


def test_kinds_are_listed_from_errors_to_notes():
    order = [list(Severity).index(kind.severity) for kind in KINDS.values()]
    assert order == sorted(order)


def test_what_is_no_number_is_text_in_json():
    box = (1.0, float("nan"), float("inf"), 4.0)
    content = Finding("not-a-number", "a", "b.", box=box).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False))["box"] == [1, "nan", "inf", 4]


@pytest.mark.slow
def test_a_finding_reads_as_a_line():
    finding = Finding("zero-area", "a.txt:3", "no width.", "a.png", "car", (1, 2.5, 1, 4))
    assert str(finding) == "a.txt:3: car, box 1 2.5 1 4: no width."
