"""What a demo comes to: the global model against what else was possible, who was rejected, what the audit found.

One law: figures are computed here from the certified model and the baselines, never taken from a trainer's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from foedus.cli.output import Json
from foedus.demo.use_case import Comparison, Score, UseCase


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a demo can say at its end."""

    use_case: UseCase
    rule: str
    attack: str | None
    rounds: int
    """Certified."""

    height: int
    overall: Score
    sites: Mapping[str, Score]
    comparison: Comparison
    rejected: Mapping[str, int]
    refusals: tuple[tuple[str, str, str], ...]
    """Participant, code and detail of updates that validation refused."""

    validator_killed_at: int | None
    """Height at which a validator was killed; None with `--no-fault`."""

    validator_caught_up: bool | None
    audit: Mapping[str, int]
    exported: Mapping[str, int]
    """What the audit of an export found; empty where nothing is exported."""

    story: Mapping[str, Json]
    """What came of the members' decisions; empty where there were none."""

    statements: tuple[str, ...]
    seconds: float

    def as_json(self) -> Mapping[str, Json]:
        """Return the demo's one line of JSON."""
        return {**self._facts(), **self._recall(), **self.story}

    def _facts(self) -> dict[str, Json]:
        return {
            "use_case": self.use_case.name,
            "tier": "open",
            "rule": self.rule,
            "rounds": self.rounds,
            "height": self.height,
            "accuracy": self._figures(lambda score: round(score.accuracy, 4)),
            "auc": self._figures(lambda score: None if score.auc is None else round(score.auc, 4)),
            "rejected": dict(self.rejected),
            "validator_killed_at": self.validator_killed_at,
            "validator_caught_up": self.validator_caught_up,
            "audit": dict(self.audit),
            "seconds": round(self.seconds, 2),
        }

    def _recall(self) -> dict[str, Json]:
        """Return what the use case `fraud` is held to."""
        alone = [score.recall for score in self.comparison.alone.values() if score.recall is not None]
        if self.overall.recall is None or self.comparison.pooled.recall is None or not alone:
            return {}
        recalls = {"federated": self.overall.recall, "median_bank": median(alone)}
        recalls["pooled"] = self.comparison.pooled.recall
        return {
            "recall_at_1pct_fpr": {name: round(value, 4) for name, value in recalls.items()},
            "export": dict(self.exported),
        }

    def _figures(self, figure: Callable[[Score], float | None]) -> Mapping[str, Json]:
        return {
            "global": figure(self.overall),
            "per_hospital_alone": {name: figure(score) for name, score in self.comparison.alone.items()},
            "pooled": figure(self.comparison.pooled),
            "mean_under_attack": figure(self.comparison.mean_under_attack),
        }

    def show(self, console: Console) -> None:
        """Print the comparison for people."""
        console.print()
        console.print(self._comparison_table())
        for name, count in self.rejected.items():
            if count:
                attacker = " (the attacker)" if name in self.use_case.malicious else ""
                console.print(f"{name}{attacker}: {count} of its updates were refused or left out")
        for name, code, detail in self.refusals:
            console.print(f"  refused: {name}: {code}: {detail}")
        if self.validator_killed_at is not None:
            caught_up = "caught up and votes again" if self.validator_caught_up else "has NOT caught up"
            console.print(f"validator killed with SIGKILL at height {self.validator_killed_at}, restarted: {caught_up}")
        for statement in self.statements:
            console.print(statement)
        for name, value in self.story.items():
            console.print(f"{name.replace('_', ' ')}: {value}")
        audit = self.audit
        console.print(
            f"audit from genesis: {audit['blocks']} blocks and {audit['updates']} updates checked, "
            f"{audit['aggregates']} aggregates computed again, {audit['differences']} differences"
        )
        if self.exported:
            console.print(f"the export, audited without a node: {self.exported}")
        console.print(f"{self.rounds} rounds, height {self.height}, {self.seconds:.1f} s")

    def _comparison_table(self) -> Table:
        figure = self.use_case.figure
        table = Table(title=f"{figure} over all held-out data", title_justify="left", header_style="bold")
        table.add_column("")
        table.add_column(figure, justify="right")
        table.add_column("accuracy", justify="right")
        rows = [(f"{name} alone", score) for name, score in self.comparison.alone.items()]
        if len(rows) > len(self.use_case.organisations):
            lone = max(self.comparison.alone.values(), key=lambda score: score.figure)
            rows = [("best participant alone", lone)]
        rows += [
            ("pooled training (nobody may)", self.comparison.pooled),
            (f"plain mean{self._attacked('the same ')}", self.comparison.mean_under_attack),
            (f"Foedus{self._attacked()} ({self.rule})", self.overall),
        ]
        for name, score in rows:
            style = "bold green" if score is self.overall else None
            table.add_row(name, f"{score.figure:.3f}", f"{score.accuracy:.3f}", style=style)
        return table

    def _attacked(self, which: str = "") -> str:
        return f" under {which}attack" if self.attack else ""
