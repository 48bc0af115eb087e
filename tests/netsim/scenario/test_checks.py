"""What is wrong with a scenario costs one line, the file and the path of the key in it, and nothing is written."""

import re

import pytest
import torch

from aggregation.attacks import registry as attacks
from aggregation.attacks.base import AttackView
from aggregation.errors import NeedsError
from aggregation.hood import Ctx
from aggregation.param_space import ParamSpace
from aggregation.seeding import rows_rng
from aggregation.store import Store
from netsim.experiments import running
from netsim.scenario.checks import NOT_GIVEN, check_scenario
from netsim.scenario.reading import read_scenario, scenario_of
from peer.cli.main import exit_code_of
from peer.errors import ConfigError
from peer.train.task import Data, tasks
from peer.train.tasks.digits_mlp import DigitsMlp
from tests.netsim.experiments.inline import inline_executor

CRASH = '[[timeline]]\nat_s = 1\nevent = {{ name = "crash", {} }}'
CLASS = '[[peers.classes]]\nname = "a"\n{}'
BAD = [
    # names and units of settings
    ("[links]\nlatency_ms = 3", "links.latency_ms is not a setting; did you mean links.latency_s?"),
    ("[rounds]\ndeadline_ms = 3", "rounds.deadline_ms is not a setting; did you mean rounds.deadline_s (in seconds)?"),
    ("[measure]\nevry_s = 3", "measure.evry_s is not a setting; did you mean measure.every_s (in seconds)?"),
    ("deadline_s = 3", "deadline_s is not a setting; deadline_s belongs under [rounds]"),
    ("seeds = [1, 2, 1]", "seeds: 1 is there twice"),
    ("seeds = []", "seeds = []"),
    ("seeds = [-1]", "seeds"),
    # probabilities and shares
    ("[links]\nloss = 1.01", "links.loss = 1.01: write a number from 0 to 0.99"),
    (CLASS.format("share = 1.5"), "peers.classes[0].share = 1.5"),
    (
        CRASH.format('who = { name = "random", share = 1.5 }'),
        "timeline[0].event: who: target 'random': ",
    ),
    ('[[timeline]]\nat_s = 1\nevent = { name = "link-loss", share = 1.0 }', "timeline[0].event: "),
    ('[attack]\nattack = { name = "sign-flip" }\nwho = { name = "random", share = 2 }', "attack.who: "),
    ('[[timeline]]\nat_s = 1\nevent = { name = "partition", shares = [0.5, 0.4] }', "timeline[0].event: "),
    # unknown pieces, in every place for one
    ('task = { name = "digits-mpl" }', "task: unknown task 'digits-mpl'; did you mean 'digits-mlp'?"),
    ('protocol = { name = "round" }', "protocol: unknown protocol 'round'; did you mean 'rounds'?"),
    ('[topology]\nfamily = { name = "rings" }', "topology.family: unknown graph family 'rings'; did you mean 'ring'?"),
    ('[topology]\nsampler = { name = "statik" }', "topology.sampler: unknown sampler 'statik'; did you mean 'static'?"),
    ('[method]\nstep = { name = "sdg" }', "method.step: unknown local step 'sdg'; did you mean 'sgd'?"),
    ('[method]\nmixer = { name = "medain" }', "method.mixer: unknown mixer 'medain'; did you mean 'median'?"),
    ('[method]\nweights = { name = "uniforn" }', "method.weights: unknown weights 'uniforn'; did you mean 'uniform'?"),
    ('[method]\nalgorithm = { name = "gosip" }', "method.algorithm: unknown algorithm 'gosip'; did you mean 'gossip'?"),
    ('[method]\nouter = { name = "nestrov" }', "method.outer: unknown outer optimizer 'nestrov'"),
    ('[method]\nselector = { name = "al" }', "method.selector: unknown selector 'al'; did you mean 'all'?"),
    ('[links]\nlatency_s = { name = "lognorm" }', "links.latency_s: unknown distribution 'lognorm'"),
    ('[links]\njitter_s = { name = "gauss" }', "links.jitter_s: unknown distribution 'gauss'"),
    ('[links]\nup_bytes_s = { name = "gauss" }', "links.up_bytes_s: unknown distribution"),
    ('[links]\ndown_bytes_s = { name = "gauss" }', "links.down_bytes_s: unknown distribution"),
    ('[world]\nstep_s = { name = "gauss" }', "world.step_s: unknown distribution"),
    ('[churn]\nname = "churny"', "churn: unknown churn 'churny'"),
    ('[battery]\nwho = { name = "some" }', "battery.who: unknown target 'some'"),
    ('[battery]\ncapacity_j = { name = "gauss" }', "battery.capacity_j: unknown distribution"),
    (
        '[attack]\nattack = { name = "sign-flop" }',
        "attack.attack: unknown attack 'sign-flop'; did you mean",
    ),
    ('[attack]\nwho = { name = "some" }', "attack.who: unknown target"),
    (CLASS.format('who = { name = "hub" }'), "peers.classes[0].who: unknown target 'hub'; did you mean 'hubs'?"),
    (CLASS.format('share = 0.1\nup_bytes_s = { name = "gauss" }'), "peers.classes[0].up_bytes_s: unknown distribution"),
    (CLASS.format('share = 0.1\ndown_bytes_s = { name = "x" }'), "peers.classes[0].down_bytes_s: unknown distribution"),
    ('[[timeline]]\nat_s = 1\nevent = { name = "crush" }', "timeline[0].event: unknown event 'crush'"),
    (CRASH.format('who = { name = "hub", share = 0.1 }'), "timeline[0].event: who: unknown target 'hub'"),
    (CRASH.format("who = { share = 0.1 }"), "timeline[0].event: who: each target needs a name"),
    (CRASH.format('who = "random"'), "timeline[0].event: event 'crash': parameter 'who'"),
    # parameters
    (
        '[topology]\nfamily = { name = "regular", degre = 4 }',
        "topology.family: graph family 'regular' has no",
    ),
    ('[links]\nlatency_s = { name = "constant", value = -1 }', "links.latency_s: distribution 'constant'"),
    (
        '[churn]\nname = "renewal"\nsession = { name = "exponentail", mean = 3 }\nabsence = { name = "normal" }',
        "churn: churn 'renewal': session: unknown distribution 'exponentail'; did you mean 'exponential'?",
    ),
    (
        CRASH.format('who = { name = "random", share = 0.1 }, ovr_s = 3'),
        "timeline[0].event: event 'crash' has no",
    ),
    # what does not fit together
    (
        '[[timeline]]\nat_round = 51\nevent = { name = "heal" }',
        "timeline[0].at_round: 51 is never reached: rounds.total is 50",
    ),
    (
        '[stop]\ntime_s = 5\n[[timeline]]\nat_s = 6\nevent = { name = "heal" }',
        "timeline[0].at_s: 6 is never reached: stop.time_s is 5",
    ),
    ("[rounds]\ntotal = 0", "nothing ends this scenario: set rounds.total or stop.time_s"),
    ('[method]\nalgorithm = { name = "push-sum" }', "method.algorithm: algorithm 'push-sum' sends "),
    ('[topology]\nfamily = { name = "erdos-renyi", p = 0.001 }', "topology.family: the graph is not connected"),
    ('[method]\nmixer = { name = "krum", f = 3 }\n[topology]\nfamily = { name = "ring" }', "topology.family: "),
    ('[topology]\nupkeep = "repair"\n[world]\nmembership = "gossip"', "topology.upkeep: "),
    (
        '[[timeline]]\nat_s = 1\nevent = { name = "crash", who = { name = "listed", peers = ["peer-0100"] } }',
        "timeline[0].event.who: there is no peer 'peer-0100'; they are called peer-0000 to peer-0099",
    ),
    (
        CLASS.format('who = { name = "area", x = 5, y = 5, radius = 0.1 }'),
        "peers.classes[0].who: hits nobody under the first seed",
    ),
    ('[battery]\nwho = { name = "random", share = 0.001 }', "battery.who: hits nobody under the first seed"),
    ('[attack]\nattack = { name = "alie" }\nwho = { name = "random", share = 0.001 }', "attack.who: hits nobody"),
    ('[attack]\nattack = { name = "alie" }\nwho = { name = "random", share = 1.0 }', "attack.who: everybody attacks"),
    ('[attack]\nattack = { name = "dissensus" }', "attack.attack: attack 'dissensus' knows whom its victims hear"),
    ('[attack]\nattack = { name = "opt-alie" }', "attack.attack: attack 'opt-alie' tries what the victims would mix"),
    # files
    ('[churn]\nname = "trace"\nfile = "none.csv"', "churn: {folder}/none.csv: cannot be read: No such file"),
    (
        '[churn]\nname = "trace"\nfile = "bad.csv"',
        "churn: {folder}/bad.csv:3: end_s must be later than start_s",
    ),
    ('[churn]\nname = "trace"\nfile = "far.csv"', "churn: {folder}/far.csv:2: peer '100' is none of the 100 peers"),
    (
        '[topology]\nfamily = { name = "file", path = "few.edges" }',
        "topology.family: {folder}/few.edges: its 3 nodes",
    ),
    ('[topology]\nfamily = { name = "file", path = "no.edges" }', "topology.family: {folder}/no.edges: cannot be read"),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bad.csv").write_text("peer,start_s,end_s\n0,0,5\n1,5,4\n")
    (tmp_path / "far.csv").write_text("peer,start_s,end_s\n100,0,5\n")
    (tmp_path / "few.edges").write_text("a b\nb c\n")
    return tmp_path


def refused(folder, capsys, text, *options):
    """Return what `sim` says on standard error, after looking that it says one line and writes nothing."""
    file = folder / "bad.toml"
    file.write_text('name = "x"\n' + text + "\n")
    before = sorted(folder.rglob("*"))
    assert exit_code_of(["sim", str(file), "--out", str(folder / "runs"), *options]) == 2
    assert sorted(folder.rglob("*")) == before
    said = capsys.readouterr().err
    start = f"murmuration: {file}: "
    assert said.startswith(start)
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said.removeprefix(start).rstrip()


@pytest.mark.parametrize(("text", "complaint"), BAD, ids=[f"{n}-{c.split(':')[0]}" for n, (_, c) in enumerate(BAD)])
def test_one_line_with_the_path_of_the_key(folder, capsys, text, complaint):
    assert refused(folder, capsys, text).startswith(complaint.format(folder=folder))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[peers]\ncount = 2000", r"data: 1300 samples cannot be split among 2000 peers .*data\.samples_per_peer"),
        ('[data]\nhow = "shards"\nshards_per_peer = 20', r"data\.shards_per_peer: 100 peers with 20 pieces"),
        ('[data]\nhow = "groups"', r'data\.how = "groups": this task knows no groups'),
        (CLASS.format("share = 1.0\nholds_data = false"), r"peers\.classes: nobody holds data"),
        ('task = { name = "scores" }', r"task: its targets are not labels"),
    ],
)
def test_what_only_the_data_tells_is_said_as_well(folder, capsys, monkeypatch, text, complaint):
    class Scores(DigitsMlp):
        def train_data(self):
            data = super().train_data()
            return Data(data.inputs, data.targets.float())

    monkeypatch.setattr(running, "_executor", inline_executor)
    tasks.register("scores")(Scores)
    try:
        assert re.match(complaint, refused(folder, capsys, text))
    finally:
        tasks.unregister("scores")


def test_a_share_of_zero_is_meant():
    """So that a sweep over shares can begin with nobody."""
    who = {"name": "random", "share": 0.0}
    tables = {"attack": {"attack": {"name": "alie"}, "who": who}, "battery": {"who": who}}
    check_scenario(scenario_of({"name": "x", **tables}, "x"), "x")


def test_attacks_are_refused_if_and_only_if_their_view_of_this_world_is_too_small():
    """Every attack of ours, with what `plan.py` tells attackers."""
    n, width = 6, 4
    for name in attacks.builtin_names():
        view = AttackView(
            "model",
            torch.arange(n * width).reshape(n, width).float(),
            torch.tensor([4, 5]),
            torch.zeros(2, 1, dtype=torch.int64),
            torch.ones(2, 1, dtype=torch.bool),
        )
        zeros = torch.zeros(2, dtype=torch.int64)
        ctx = Ctx(
            t=zeros,
            now=zeros.double(),
            lr=zeros.double(),
            neighbours=zeros,
            space=ParamSpace(()),
            rng=rows_rng(1, bytes(32), ["e", "f"], [0, 0]),
        )
        try:
            attacks.build(name).craft(view, ctx, Store(x=torch.zeros(2, 1)))
            needs_more = False
        except NeedsError:
            needs_more = True
        assert needs_more == (name in NOT_GIVEN), name


def test_files_are_looked_at_where_the_scenario_lies(folder):
    (folder / "ok.toml").write_text('name = "x"\n[churn]\nname = "trace"\nfile = "far.csv"\nassign = "round-robin"\n')
    check_scenario(read_scenario(folder / "ok.toml"), "ok")


def test_a_graph_in_parts_is_refused_only_where_exchanges_follow_it():
    parts = {"family": {"name": "erdos-renyi", "p": 0.001}}
    with pytest.raises(ConfigError, match=r"topology\.family: the graph is not connected"):
        check_scenario(scenario_of({"name": "x", "topology": parts}, "x"), "x")
    check_scenario(scenario_of({"name": "x", "topology": {**parts, "sampler": {"name": "matching"}}}, "x"), "x")
