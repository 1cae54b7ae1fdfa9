"""What was found in a data set, counted, and as much of it as is to be shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from frcnn_core.survey.findings import KINDS, Finding, Severity


@dataclass
class Report:
    """The findings of all splits.

    Args:
        keep: findings of each code that are kept; the others are only counted.  None keeps all.
    """

    keep: int | None = None
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    """Code -> those that are kept, in the order they were found."""
    counts: Counter[str] = field(default_factory=Counter)
    """Code -> how many there are."""
    images: Counter[str] = field(default_factory=Counter)
    """Split -> images looked at."""
    objects: Counter[str] = field(default_factory=Counter)
    """Split -> objects in their labels."""

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if few of its code are kept yet."""
        self.counts[finding.code] += 1
        kept = self.findings.setdefault(finding.code, [])
        if self.keep is None or len(kept) < self.keep:
            kept.append(finding)

    @property
    def codes(self) -> list[str]:
        """What was found, the worst first."""
        return [code for code in KINDS if self.counts[code]]

    def num(self, severity: Severity) -> int:
        """How many findings are of this severity."""
        return sum(n for code, n in self.counts.items() if KINDS[code].severity is severity)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "images": dict(self.images),
            "objects": dict(self.objects),
            "severities": {severity.value: self.num(severity) for severity in Severity},
            "counts": {code: self.counts[code] for code in self.codes},
            "findings": [one.as_dict() for code in self.codes for one in self.findings[code]],
        }

    def lines(self, shown: int | None = None) -> list[tuple[Severity | None, str]]:
        """The report for people: a heading with its severity for each code, then the findings.

        Args:
            shown: most findings of each code; None is all that are kept.
        """
        lines: list[tuple[Severity | None, str]] = []
        for code in self.codes:
            kind, first = KINDS[code], self.findings[code][:shown]
            lines.append((kind.severity, f"{code} ({self.counts[code]}): {kind.title}"))
            lines += [(None, f"  {finding}") for finding in first]
            if more := self.counts[code] - len(first):
                lines.append((None, f"  and {more} more."))
        return lines
