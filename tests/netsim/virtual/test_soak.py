"""A few dozen random worlds in each run of the suite; `make soak` plays a thousand."""

import pytest

from netsim.virtual.watch import InvariantError, Watch
from tests.netsim import soak


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_random_worlds_keep_the_invariants(start):
    for seed in range(start, start + 10):
        soak.play(seed)


def test_seeds_draw_different_worlds():
    assert len({str(soak.drawn(seed)) for seed in range(50)}) == 50


def test_what_fails_says_how_to_play_it_again(monkeypatch, capsys):
    def fail(*_):
        raise InvariantError("made up")

    monkeypatch.setattr(Watch, "mixed", fail)
    assert soak.main(["--seed", "3"]) == 1
    shown = capsys.readouterr().out
    assert "to play it again: python -m tests.netsim.soak --seed 3" in shown
    assert "0 passed, 1 failed" in shown
