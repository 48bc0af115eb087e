"""`docs/experiments.md`: the same text for the same results, whoever made them, when and where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from netsim.experiments.findings.experiment import Claim, Experiment, Picture, Runs, Value
from netsim.experiments.report import style
from netsim.experiments.report.curves import Estimate, estimate

IMAGES = Path("images/experiments")
"""Where the plots lie, from the folder of the page."""

HEAD = """\
<!-- Made by `python -m netsim.experiments.findings` from runs of the experiments: change them, not this page. -->
# Experiments

Known results, played in virtual worlds ([scenario.md](scenario.md)) and held against bands. Data are scikit-learn's
1,797 handwritten digits (`digits-mlp`, a perceptron 64-64-10) unless it says otherwise. Figures are means over the
seeds ± half the width of their 95 % confidence interval (Student's t); in the tables of claims, differences and
ratios are taken seed by seed. *Expected* is what an independent simulation, written from the papers' formulas, gave
with a split of its own (1,437 training and 360 test samples; ours has 1,300 and 497); it is **no figure of the
paper**. *Accepted* is the band around it that was fixed before these runs. Bands without an expected figure are
ours. *Came out* says whether the mean is in the band, not whether the interval is. Rows without a band are only
shown.

A command repeats all seeds of its row; runs that are there are not run again. `python -m
netsim.experiments.findings` repeats everything and writes this page.
"""


def page(parts: Sequence[tuple[Experiment, Runs | None]]) -> str:
    """Return the page. An experiment without runs is named, with what it needs."""
    lines = [HEAD, *_contents(parts)]
    for experiment, runs in parts:
        lines += ["", *section(experiment, runs)]
    return "\n".join(lines) + "\n"


def section(experiment: Experiment, runs: Runs | None) -> Iterator[str]:
    """Yield the lines of one experiment."""
    yield from (
        f"## {experiment.title}",
        "",
        f"**Question.** {experiment.question}",
        "",
        f"**Set-up.** {experiment.setup}",
    )
    if runs is None:
        yield from ("", f"*Not run: {experiment.needs}.*")
        return
    yield from ("", *_rows(experiment, runs))
    claims = experiment.claims(runs)
    if claims:
        yield from ("", *_claims(claims))
    for claim in claims:
        if claim.came_out is False and claim.remark:
            yield from ("", f"*{claim.what}*: {claim.remark}")
    if experiment.reading:
        yield from ("", experiment.reading)
    for picture in experiment.pictures(runs):
        yield from ("", f"![{picture.caption}]({IMAGES.as_posix()}/{picture.name}.png)", "", f"*{picture.caption}*")
    yield from ("", "To repeat a row:", "", "```sh")
    for variation in experiment.variations:
        yield from (f"# {variation.name}", variation.command)
    yield "```"


def save_pictures(pictures: Sequence[Picture], folder: Path) -> None:
    """Write plots as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / f"{picture.name}.png").write_bytes(style.png(picture.figure))


def shown(value: Estimate, digits: int) -> str:
    """Return a mean with its confidence: "0.741 ± 0.020"."""
    if not value.num_runs:
        return "-"
    text = f"{value.mean:.{digits}f}"
    return text if math.isnan(value.half_width) else f"{text} ± {value.half_width:.{digits}f}"


def _contents(parts: Sequence[tuple[Experiment, Runs | None]]) -> Iterator[str]:
    yield "| experiment | claims that came out |"
    yield "|---|---|"
    for experiment, runs in parts:
        outcomes = [claim.came_out for claim in experiment.claims(runs)] if runs is not None else []
        judged = [outcome for outcome in outcomes if outcome is not None]
        text = "not run" if runs is None else f"{sum(judged)} of {len(judged)}"
        yield f"| [{experiment.title}](#{_anchor(experiment.title)}) | {text} |"


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.replace(" ", "-")


def _rows(experiment: Experiment, runs: Runs) -> Iterator[str]:
    columns = experiment.columns
    yield "| " + " | ".join(["variation", "runs", *(column.title for column in columns)]) + " |"
    yield "|---" * (len(columns) + 2) + "|"
    for variation in experiment.variations:
        several = runs[variation.name]
        cells = [_some(runs.figures(variation.name, column.of), column.digits) for column in columns]
        yield "| " + " | ".join([variation.name, str(len(several)), *cells]) + " |"


def _some(values: Sequence[Value], digits: int) -> str:
    value = estimate(values)
    text = shown(value, digits)
    return text if value.num_runs in (0, len(values)) else f"{text} ({value.num_runs} of {len(values)})"


def _claims(claims: Sequence[Claim]) -> Iterator[str]:
    yield "| claim | expected | accepted | measured | came out |"
    yield "|---|---|---|---|---|"
    for claim in claims:
        measured = _some(claim.values, claim.digits)
        outcome = {True: "yes", False: "**no**", None: ""}[claim.came_out]
        yield f"| {claim.what} | {claim.expected} | {_band(claim)} | {measured} | {outcome} |"


def _band(claim: Claim) -> str:
    low, high, digits = claim.low, claim.high, claim.digits
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f"≥ {low:.{digits}f}"
    if math.isinf(low):
        return f"≤ {high:.{digits}f}"
    return f"{low:.{digits}f}" if low == high else f"{low:.{digits}f} … {high:.{digits}f}"
