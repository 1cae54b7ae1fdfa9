"""docs/data.md says what `frcnn dataset validate` finds."""

import re
from pathlib import Path

from frcnn_core.survey.findings import KINDS, Severity

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text()


def test_every_finding_is_listed_under_its_severity():
    headings = {"Errors": Severity.ERROR, "Warnings": Severity.WARNING, "Notes": Severity.NOTE}
    for heading, severity in headings.items():
        table = PAGE.split(f"| {heading} | |\n|---|---|\n")[1].split("\n\n")[0]
        listed = re.findall(r"^\| `(.+?)` \| (.+?) \|$", table, flags=re.MULTILINE)
        expected = [(c, kind.title) for c, kind in KINDS.items() if kind.severity is severity]
        assert listed == expected
