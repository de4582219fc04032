"""What a doctor finds. One law: a problem comes with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What: `keys.validator`, `peer hungary`, ..."""

    detail: str
    """What was found."""

    remedy: str = ""
    """What to do; empty when all is well."""

    @property
    def is_problem(self) -> bool:
        """Whether somebody has to do something."""
        return bool(self.remedy)


@dataclass(slots=True)
class Report:
    """Findings, in the order in which they were made."""

    findings: list[Finding] = field(default_factory=list)

    def ok(self, check: str, detail: str) -> None:
        """Note that all is well."""
        self.findings.append(Finding(check, detail))

    def problem(self, check: str, detail: str, remedy: str) -> None:
        """Note what is not, and what to do."""
        assert remedy, "a problem comes with what to do"
        self.findings.append(Finding(check, detail, remedy))

    @property
    def problems(self) -> list[Finding]:
        """What somebody has to do something about."""
        return [finding for finding in self.findings if finding.is_problem]
