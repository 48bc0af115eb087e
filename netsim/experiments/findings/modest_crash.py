"""MoDeST: what sampling saves, and what it survives.

Source: [de Vos, Dhasade, Kermarrec, Lavoie & Pouwelse 2023, MoDeST: Bridging the Gap between Federated and
Decentralized Learning with Decentralized Sampling].
"""

from __future__ import annotations

from typing import Any

from netsim.experiments.findings.experiment import Claim, Column, Experiment, OfRun, Picture, Runs, Variation
from netsim.experiments.findings.figures import accuracy, final, when_reached
from netsim.experiments.findings.pictures import curves
from netsim.experiments.run_folder import Run

SEEDS = (0, 1, 2)
TARGET = 0.9
ALIVE_S = 300.0
"""A swarm without a new round for this long is dead: fifteen times T_agg."""

PAPER: dict[str, Any] = {
    "protocol.success_fraction": 1.0,
    "protocol.watchdog_s": 0.0,
    "protocol.suspicion_s": 0.0,
    "protocol.hedge": 0,
    "protocol.aggregation_timeout_s": 0.0,
}
"""The protocol of the paper with the defaults of its first code: nothing restarts a round that is lost."""

NO_WATCH: dict[str, Any] = {"protocol.watchdog_s": 0.0, "protocol.suspicion_s": 0.0, "protocol.hedge": 0}
AT_ONCE: dict[str, Any] = {"timeline[0].event.over_s": 0.0}
UNTIL_TARGET: dict[str, Any] = {"stop.accuracy": TARGET}
UNDISTURBED: dict[str, Any] = {"timeline": [], "measure.every_s": 0.0}

VARIATIONS = (
    Variation("nobody crashes", "crash-80", UNDISTURBED, SEEDS),
    Variation("gradual", "crash-80", {}, SEEDS),
    Variation("at once", "crash-80", AT_ONCE, SEEDS),
    Variation("a = 1, sf = 1, nothing else; gradual", "crash-80", PAPER, SEEDS),
    Variation("a = 1, sf = 1, nothing else; at once", "crash-80", {**PAPER, **AT_ONCE}, SEEDS),
    Variation("a = 3, sf = 0.8, T_agg; gradual", "crash-80", {**NO_WATCH, "protocol.aggregators": 3}, SEEDS),
    Variation("MoDeST until 90 %", "crash-80", {**UNDISTURBED, **UNTIL_TARGET}, SEEDS),
    Variation("one-peer exponential until 90 %", "one-peer", UNTIL_TARGET, SEEDS),
)


def survived(run: Run) -> float:
    """Return 1 where all rounds were done, or time was up and the last new round at most `ALIVE_S` ago; else 0."""
    reason, last = run.record.outcome.reason, run.totals[-1]
    if reason != "time":
        return float(reason == "rounds")  # otherwise nothing was left to happen
    before = [row.round_max for row in run.totals if row.at_s <= last.at_s - ALIVE_S]
    return float(not before or last.round_max > before[-1])


def rounds_done(run: Run) -> float:
    """Return the newest round at the end."""
    return float(run.totals[-1].round_max)


def round_time(run: Run) -> float | None:
    """Return the mean length of a round in seconds, over the whole run; None where none was done."""
    last = run.totals[-1]
    return last.at_s / last.round_max if last.round_max else None


def round_time_after(at_s: float) -> Any:
    """Return a figure: the mean length of a round that began after `at_s`."""

    def read(run: Run) -> float | None:
        first = next((row for row in run.totals if row.at_s >= at_s), None)
        last = run.totals[-1]
        if first is None or last.round_max == first.round_max:
            return None
        return (last.at_s - first.at_s) / (last.round_max - first.round_max)

    return read


def megabytes(run: Run) -> float:
    """Return what all peers have sent, in millions of bytes."""
    return run.totals[-1].bytes_sent / 1e6


def _claims(runs: Runs) -> list[Claim]:
    def share(name: str) -> list[float | None]:
        return runs.figures(name, survived)

    modest, one_peer = "MoDeST until 90 %", "one-peer exponential until 90 %"
    until_merged = when_reached("accuracy_merged", TARGET, lambda row: row.bytes_sent / 1e6)

    def times(dpsgd: OfRun) -> list[float | None]:
        pairs = zip(runs.figures(modest, megabytes), runs.figures(one_peer, dpsgd), strict=True)
        return [b / a if a and b else None for a, b in pairs]

    return [
        Claim(
            "nobody crashes: accuracy after 200 rounds",
            runs.figures("nobody crashes", accuracy),
            "0.957",
            0.945,
            0.968,
            remark="better than accepted by a hair; the test set is another one. Not looked into further.",
        ),
        Claim(
            "nobody crashes: seconds per round",
            runs.figures("nobody crashes", round_time),
            "4.19",
            3.8,
            4.6,
            2,
            remark="the independent simulation takes 0.3 s for each transfer, this network the latency alone.",
        ),
        Claim("bytes until 90 %: one-peer exponential over MoDeST", times(megabytes), "9.2", 6.0, 13.0, 1),
        Claim("the same, when the mean of D-PSGD's models counts", times(until_merged), digits=1),
        Claim("gradual: share that survives", share("gradual"), "1 (30 of 30)", 1.0, 1.0, 2),
        Claim("at once: share that survives", share("at once"), "1 (30 of 30)", 1.0, 1.0, 2),
        Claim("a = 1, sf = 1, gradual", share("a = 1, sf = 1, nothing else; gradual"), "0 (0 of 30)", 0.0, 0.0, 2),
        Claim("a = 1, sf = 1, at once", share("a = 1, sf = 1, nothing else; at once"), "0 (0 of 10)", 0.0, 0.0, 2),
        Claim("a = 3, sf = 0.8, gradual", share("a = 3, sf = 0.8, T_agg; gradual"), "0.70 (21 of 30)", 0.3, 1.0, 2),
        Claim(
            "gradual: seconds per round after the last crash",
            runs.figures("gradual", round_time_after(220.0)),
            "5.2",
            digits=2,
        ),
        Claim("gradual: seconds per round after 600 s", runs.figures("gradual", round_time_after(600.0)), digits=2),
        Claim(
            "a = 3, sf = 0.8, gradual: seconds per round after the last crash",
            runs.figures("a = 3, sf = 0.8, T_agg; gradual", round_time_after(220.0)),
            digits=2,
        ),
    ]


def _pictures(runs: Runs) -> list[Picture]:
    shown = ("gradual", "at once", "a = 1, sf = 1, nothing else; gradual", "a = 3, sf = 0.8, T_agg; gradual")
    figure = curves(
        "80 of 100 peers crash from 60 s on",
        {name: runs[name] for name in shown},
        x="at_s",
        y="round_max",
        x_label="seconds",
        y_label="newest round",
    )
    return [Picture("modest-crash", "Rounds that the swarm gets through, mean over the seeds.", figure)]


EXPERIMENT = Experiment(
    name="modest-crash",
    title="MoDeST: few peers per round, and 80 % of them gone",
    question=(
        "How much traffic does sampling save, and does a swarm that samples survive the loss of four fifths of it?"
    ),
    setup="""\
100 peers, a sample of s = 10 in each round, 5 local steps of SGD (lr 0.05, momentum 0.9, batches of 20), latencies
of 20 to 200 ms, a step takes 0.2 to 0.6 s. 80 peers crash from second 60 on, one every two seconds (*gradual*) or
all together (*at once*). Ours has a = 1 aggregator that goes on with sf = 0.8 of the models or at T_agg = 20 s, and
what `peer/core/modest.py` adds: a watchdog (30 s), suspicion (300 s), two hedged pings. The paper's own protocol is
*a = 1, sf = 1, nothing else*. A run survives that does its 200 rounds, or still makes new ones in the last 300 of
1200 s. The comparison of traffic is with D-PSGD that sends one model per peer and round, along the one-peer
exponential graph; MoDeST's model is the newest aggregate, D-PSGD's accuracy the mean over its peers; all bytes
count, pings and headers too.""",
    variations=VARIATIONS,
    columns=(
        Column("accuracy", accuracy),
        Column("rounds", rounds_done, 1),
        Column("s per round", round_time, 2),
        Column("MB sent", megabytes, 1),
        Column("restarts", lambda run: float(run.record.counters.get("rounds_restarted", 0)), 1),
        Column("peers left", final("num_alive"), 0),
    ),
    claims=_claims,
    pictures=_pictures,
    reading="""\
The paper's protocol ends soon after the first crashes: nothing restarts a round whose aggregator is gone. With
three aggregators and T_agg it goes on, very slowly: dead candidates cost their ping timeout again and again. It
counts as alive here; if only those counted that did 200 rounds in 1200 s, it would be none of three. With watchdog,
suspicion and hedging it is as fast as before once the dead are known. Traffic: D-PSGD's peers are measured as they
are, many of them between local steps and mixing, MoDeST's model right after aggregation, which flatters MoDeST;
counting D-PSGD's mean model, which no peer has, is the other extreme, and below the band.""",
)
