"""Results, their targets, and tables in plain text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "Result",
    "in_turn",
    "median",
    "paired_ratio",
    "percentile",
    "print_results",
    "print_table",
    "spread",
]


@dataclass(frozen=True)
class Result:
    """One number that has a target."""

    path: str
    what: str
    measured: float
    unit: str
    bound: float
    at_least: bool = False  # the bound is a lower one

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def target(self) -> str:
        """The target in words."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def median(values: Iterable[float]) -> float:
    """The value in the middle."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of the rounds.

    Both sides of a round ran within moments of each other, so what slowed the machine down
    then slowed down both: the ratio of a round says more than the ratio of two medians.
    """
    pairs = zip(numerators, denominators, strict=True)
    return median(above / below for above, below in pairs)


def spread(values: Iterable[float], show: Callable[[float], str]) -> str:
    """A median with the least and the greatest value behind it."""
    ordered = sorted(values)
    return f"{show(median(ordered))} ({show(ordered[0])}–{show(ordered[-1])})"


def in_turn(names: Iterable[str], rounds: int) -> Iterator[str]:
    """Give all names once a round, each round beginning with another one.

    So none is always measured in the wake of the same other.
    """
    ordered = list(names)
    for number in range(rounds):
        first = number % len(ordered)
        yield from ordered[first:] + ordered[:first]


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a title, columns aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print(f"\n{title}")
    for row in (head, ["-" * width for width in widths], *rows):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def print_results(results: Sequence[Result]) -> None:
    """Print every target with what was measured, and how many were met."""
    rows = [
        [
            "met" if result.met else "MISSED",
            result.path,
            result.what,
            f"{result.measured:.2f} {result.unit}",
            result.target,
        ]
        for result in results
    ]
    print_table("targets", ["", "path", "what", "measured", "target"], rows)
    met = sum(result.met for result in results)
    print(f"\n{met} of {len(results)} targets met")
