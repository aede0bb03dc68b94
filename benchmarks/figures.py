"""What a benchmark returns, as a table for people and as JSON for machines."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

HEAD = ("low quarter", "median", "high quarter", "runs", "aim")


@dataclass(frozen=True)
class Figure:
    """One measured quantity: every value, and the most that its median should be, where there is an aim."""

    name: str
    unit: str
    values: Sequence[float]
    aim: float | None = None

    @property
    def median(self) -> float:
        """The value to quote."""
        return statistics.median(self.values)

    def quarters(self) -> tuple[float, float, float]:
        """Low quarter, median, high quarter: the spread without the strays of a busy machine."""
        if len(self.values) == 1:
            return (self.values[0],) * 3
        low, middle, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, middle, high

    def to_json(self) -> dict[str, Any]:
        """Every number, so that others can judge by other measures."""
        low, middle, high = (round(value, 3) for value in self.quarters())
        spread = {"min": round(min(self.values), 3), "low": low, "median": middle, "high": high}
        aim = {} if self.aim is None else {"aim": self.aim}
        return {"unit": self.unit, **spread, "max": round(max(self.values), 3), "runs": len(self.values), **aim}


@dataclass(frozen=True)
class Section:
    """One part of the benchmarks: its figures, and how to read them."""

    name: str
    title: str
    figures: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {figure.name: figure.to_json() for figure in self.figures}


def table(section: Section) -> Iterable[str]:
    """The lines of a section's table."""
    yield f"\n{section.title}"
    yield f"{'':<48}" + "".join(f"{word:>13}" for word in HEAD)
    for figure in section.figures:
        cells = [f"{value:,.2f}" for value in figure.quarters()]
        aim = "" if figure.aim is None else f"{figure.aim:g}{' !' if figure.median > figure.aim else ''}"
        label = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
        yield f"  {label:<46}" + "".join(f"{cell:>13}" for cell in (*cells, str(len(figure.values)), aim))
