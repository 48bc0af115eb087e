from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from peer.control.metrics import EVENTS, FAULT_KINDS, Metrics
from peer.control.status import Status
from peer.core.exchange_counts import ExchangeCounts
from tests.control.a_status import PEER, a_status

ROOT = Path(__file__).parents[2]


def samples_of(status: Status) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    metrics = Metrics()
    metrics.watch(lambda: status)
    families = text_string_to_metric_families(metrics.render().decode())
    return {(sample.name, frozenset(sample.labels.items())): sample.value for one in families for sample in one.samples}


def value(status: Status, name: str, **labels: str) -> float:
    return samples_of(status)[name, frozenset(labels.items())]


def test_metrics_say_what_the_status_says() -> None:
    status = a_status()
    assert value(status, "murmuration_rounds_total") == 7
    assert value(status, "murmuration_received_bytes_total") == 1_234_567
    assert value(status, "murmuration_accuracy_mixed_ratio") == 0.942
    assert value(status, "murmuration_models_admitted_total") == 12
    assert value(status, "murmuration_trainer_restarts_total") == 2


def test_what_is_not_known_has_no_sample() -> None:
    assert ("murmuration_loss", frozenset()) not in samples_of(a_status(loss=None))


def test_unknown_faults_do_not_grow_the_number_of_series() -> None:
    flooded = a_status(faults={f"kind_{number}": 1 for number in range(1000)} | {"wrong_hash": 2})
    assert value(flooded, "murmuration_faults_total", kind="other") == 1000
    assert value(flooded, "murmuration_faults_total", kind="wrong_hash") == 2
    assert samples_of(flooded).keys() == samples_of(a_status(faults={})).keys()
    assert samples_of(a_status(events={"unheard_of": 1})).keys() == samples_of(a_status()).keys()


def test_no_peer_id_anywhere() -> None:
    metrics = Metrics()
    metrics.watch(a_status)
    assert PEER.encode() not in metrics.render()
    assert b"neighbourA" not in metrics.render()


def test_distributions() -> None:
    metrics = Metrics()
    metrics.round_seconds.observe(0.3)
    metrics.mixed_age_seconds.observe(100.0)
    text = metrics.render().decode()
    assert 'murmuration_round_seconds_bucket{le="0.5"} 1.0' in text
    assert 'murmuration_mixed_age_seconds_bucket{le="60.0"} 0.0' in text
    assert "_created" not in text


def test_two_daemons_in_one_process_do_not_share() -> None:
    one, other = Metrics(), Metrics()
    one.round_seconds.observe(1.0)
    assert "murmuration_round_seconds_count 0.0" in other.render().decode()


@pytest.mark.parametrize("name", sorted({name for name, _ in samples_of(a_status())}))
def test_names_have_our_prefix_and_a_unit(name: str) -> None:
    assert re.fullmatch(r"murmuration_[a-z_]+", name)


SIMULATED_ONLY = re.compile(r"(modest|pairing|mass)(_\w+)?")
"""Modules of cores that run in simulation, but in no daemon yet."""


def calls_and_increments() -> Iterator[ast.Call | ast.AugAssign]:
    for path in sorted((ROOT / "peer").rglob("*.py")):
        if path.parent.name == "core" and SIMULATED_ONLY.fullmatch(path.stem):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call | ast.AugAssign):
                yield node


def words_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)} - {""}


def test_everything_that_is_counted_is_exported() -> None:
    """`self.counters["word"] += 1`"""
    increments = [node for node in calls_and_increments() if isinstance(node, ast.AugAssign)]
    targets = [node.target for node in increments if isinstance(node.target, ast.Subscript)]
    words = words_in(target.slice for target in targets if ast.unparse(target.value).endswith("counters"))
    assert words
    assert words | set(ExchangeCounts.__slots__) <= set(EVENTS)


# Callee (the end of its name) -> position of the argument that is a kind of fault
NAMES_A_FAULT = {
    ".note": 0,
    "note_violation": 0,
    "on_violation": 0,
    "FramingError": 0,
    "Verdict": 0,
    "BadRecord": 1,
    "Misbehaved": 1,
}


def test_every_kind_of_fault_has_its_own_series() -> None:
    named: list[ast.expr] = []
    for call in calls_and_increments():
        if isinstance(call, ast.Call):
            callee = ast.unparse(call.func)
            named += [keyword.value for keyword in call.keywords if keyword.arg == "fault"]
            for name, position in NAMES_A_FAULT.items():
                if callee.endswith(name) and len(call.args) > position:
                    named.append(call.args[position])
            if callee.endswith("FetchError") and any(keyword.arg == "misbehaved" for keyword in call.keywords):
                named.append(call.args[0])
    assert words_in(named)
    assert words_in(named) <= set(FAULT_KINDS)
