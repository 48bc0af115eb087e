from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from peer.control.metrics import EVENTS, FAULT_KINDS, Metrics
from peer.control.status import Status
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


def counted_words(counter: str) -> set[str]:
    """Words that the code counts literally: `self.counters["word"] += 1`."""
    words = set()
    for path in sorted((ROOT / "peer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.AugAssign) or not isinstance(node.target, ast.Subscript):
                continue
            if ast.unparse(node.target.value).endswith(f".{counter}") and isinstance(node.target.slice, ast.Constant):
                words.add(str(node.target.slice.value))
    return words


def test_everything_that_is_counted_is_exported() -> None:
    assert counted_words("counters") <= set(EVENTS)
    assert counted_words("faults") <= set(FAULT_KINDS)
