"""What was measured."""

from __future__ import annotations

from math import fsum, isfinite
from pathlib import Path
from typing import Annotated

import msgspec

from netsim.distributions.base import LARGEST
from topology.errors import BadParameterError


class Empirical:
    """Measured values, with straight lines between them.

        Q(u) = x_⌊h⌋ + (h − ⌊h⌋) · (x_⌊h⌋₊₁ − x_⌊h⌋),   h = u · (n − 1)
        E X  = (Σ x_i − (x_0 + x_n₋₁) / 2) / (n − 1)

    x_0 ≤ … ≤ x_n₋₁ the values. Nothing is drawn outside of what was measured. The mean is that of the law, which gives
    the two ends half the weight of the others. Cost O(n log n) once, O(1) for a draw.
    Source: [Hyndman & Fan 1996, Sample Quantiles in Statistical Packages, definition 7].
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """The values, or where they are."""

        values: Annotated[
            tuple[Annotated[float, msgspec.Meta(ge=0, le=LARGEST)], ...],
            msgspec.Meta(
                max_length=100_000,
                description="Measured values in any order, in the unit of what is drawn. Either these or `file`.",
            ),
        ] = ()
        file: Annotated[
            str,
            msgspec.Meta(
                description="Name of a CSV file with one column of such values, with or without a heading. Either this"
                " or `values`."
            ),
        ] = ""

        def __post_init__(self) -> None:
            if bool(self.values) == bool(self.file):
                raise BadParameterError(f"give either values or file, got {'both' if self.file else 'neither'}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self._values = sorted(_read(Path(config.file)) if config.file else config.values)
        self._last = len(self._values) - 1
        self.least, most = self._values[0], self._values[-1]
        self.mean = self.least
        if self.least < most:
            self.mean = (fsum(self._values) - (self.least + most) / 2) / self._last

    def quantile(self, u: float) -> float:
        """Return the value below which a share u lies."""
        place = u * self._last
        below = int(place)
        if below >= self._last:
            return self._values[self._last]
        low = self._values[below]
        return low + (place - below) * (self._values[below + 1] - low)


def _read(path: Path) -> list[float]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadParameterError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadParameterError(f"{path}: not a text in UTF-8: {error.reason} at byte {error.start}") from None
    values: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip().strip('"')
        value = _number(text)
        if value is not None and 0 <= value <= LARGEST:
            values.append(value)
        elif text and not (number == 1 and value is None):
            raise BadParameterError(f"{path}:{number}: expected one number from 0 to {LARGEST:g}, got {text!r}")
    if not values:
        raise BadParameterError(f"{path}: no value in it")
    return values


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else -1.0
