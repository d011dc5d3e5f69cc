"""What was interrupted, what was told, and what the oracle found, added up over trials and processes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cases import Case
    from .oracle import Verdict

__all__ = ["UNHEARD", "Finding", "Report"]

UNHEARD: Final = "an exception that nobody should see"
_MOST_FINDINGS: Final = 1_000


class Finding(NamedTuple):
    """What is not as it was told: where, which operation, in which way, and the sentence."""

    where: str
    operation: str
    fault: str
    sentence: str


class Report(msgspec.Struct):
    """The sums.

    Attributes
    ----------
    counts : Counter
        How many operations were interrupted, by journal, way, structure, family of interruption, and what was told.
    faults : Counter
        What the oracle found, by fault, family and operation.
    """

    counts: Counter[tuple[str, str, str, str, str]] = msgspec.field(default_factory=Counter)
    faults: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    findings: list[Finding] = []

    def add(
        self, where: tuple[str, str], moment: str, family: str, cases: Iterable[Case], verdicts: Iterable[Verdict]
    ) -> None:
        """Take in a trial of one world."""
        for case in cases:
            self.counts[*where, case.row.kind, family, case.told.value] += 1
        for verdict in verdicts:
            self._find(where, moment, family, verdict.case.row.title, verdict.fault, verdict.sentence)

    def unheard(self, where: tuple[str, str], family: str, said: Iterable[str]) -> None:
        """Take in what the event loop was told."""
        for sentence in said:
            self._find(where, family, family, "", UNHEARD, sentence)

    def _find(
        self, where: tuple[str, str], moment: str, family: str, operation: str, fault: str, sentence: str
    ) -> None:
        self.faults[fault, family, operation] += 1
        self.findings.append(Finding(f"{', '.join(where)}, {moment}", operation, fault, sentence))

    def plain(self) -> tuple[list[Any], list[Any], list[Finding]]:
        """Return it for another process, with the first findings only."""
        return list(self.counts.items()), list(self.faults.items()), self.findings[:_MOST_FINDINGS]

    @classmethod
    def of(cls, plain: Any) -> Self:
        """Return what another process made plain."""
        counts, faults, findings = plain
        return cls(
            Counter({tuple(key): number for key, number in counts}),
            Counter({tuple(key): number for key, number in faults}),
            [Finding(*finding) for finding in findings],
        )

    def join(self, other: Self) -> None:
        """Add another one."""
        self.counts += other.counts
        self.faults += other.faults
        self.findings += other.findings

    @property
    def interrupted(self) -> int:
        """How many operations were interrupted."""
        return sum(self.counts.values())

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(self.faults.values())

    def complaints(self, most: int = 10) -> str:
        """Return what the oracle found as text: the sums, and the first finding of each kind."""
        first: dict[tuple[str, str], Finding] = {}
        for finding in self.findings:
            first.setdefault((finding.fault, finding.operation), finding)
        lines = [f"{finding.where}: {finding.sentence}" for finding in first.values()]
        title = f"{self.found} findings in {self.interrupted} interrupted operations"
        return "\n".join([title, *lines[:most]])

    def table(self, *columns: int) -> str:
        """Return the counts summed over these columns: journal, way, structure, family, told."""
        sums: Counter[tuple[str, ...]] = Counter()
        for key, number in self.counts.items():
            sums[tuple(key[column] for column in columns)] += number
        return "\n".join(f"{number:>9,}  {', '.join(key)}" for key, number in sorted(sums.items()))

    def __str__(self) -> str:
        faults = "\n".join(f"{number:>9,}  {'; '.join(key)}" for key, number in sorted(self.faults.items()))
        return "\n\n".join(
            [
                f"{self.interrupted:,} operations interrupted",
                f"By journal and way\n{self.table(0, 1)}",
                f"By structure and what was told\n{self.table(2, 4)}",
                f"By interruption and what was told\n{self.table(3, 4)}",
                f"{self.found:,} findings\n{faults}",
            ]
        )
