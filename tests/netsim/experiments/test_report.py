from __future__ import annotations

import html.parser
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from netsim.experiments.report import page as page_module
from netsim.experiments.report.graph_picture import by_degree, by_forces, graph_plots, layout
from netsim.experiments.report.page import run_folders, write_report
from netsim.experiments.report.run_plots import Measured
from netsim.experiments.report.style import bytes_unit, mark_events, new_figure, plot_text, png, svg, time_unit
from netsim.experiments.report_command import report
from netsim.experiments.run_folder import EventRecord, PeerRecord, Run, RunWriter, read_run
from peer.errors import ConfigError, StoreError
from tests.netsim.experiments.synthetic import TIMING, scenario, write_synthetic

PNG = b"\x89PNG\r\n\x1a\n"


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: text, what it would load, tags that were not closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return write_synthetic(root / "run", num_peers=30, num_instants=11, share_byzantine=0.1)


@pytest.fixture(scope="module")
def page_of_one(root: Path, folder: Path) -> Page:
    write_report([folder], root / "one.html", png_folder=root / "png")
    return Page(root / "one.html")


def test_the_page_needs_nothing_but_itself(page_of_one: Page) -> None:
    assert page_of_one.loaded
    inside = ("data:image/svg+xml;base64,", "data:image/png;base64,")
    assert all(source.startswith(inside) for source in page_of_one.loaded)
    assert not {"script", "link", "iframe"} & set(page_of_one.tags)


def test_the_page_says_what_was_run_and_how_to_repeat_it(page_of_one: Page, folder: Path) -> None:
    record = read_run(folder).record
    for text in (
        record.scenario_hash,
        "murmuration sim hub-loss --seed 1",
        "peers with most neighbours crash",
        "m = 2",
    ):
        assert text in page_of_one.text
    assert "ended by" in page_of_one.text
    assert re.search(r"messages lost\s*12", page_of_one.text)


def test_every_plot_is_on_the_page_and_a_file(page_of_one: Page, root: Path) -> None:
    files = sorted(path.stem for path in (root / "png").iterdir())
    assert files == [
        "accuracy-bytes", "accuracy-groups", "accuracy-time", "alive-time", "consensus-time", "final-accuracy",
        "graph-after", "graph-before", "loss-time", "rounds-time", "traffic-time",
    ]  # fmt: skip
    assert all((root / "png" / f"{name}.png").read_bytes().startswith(PNG) for name in files)
    assert page_of_one.tags.count("img") == len(files)


def test_seeds_are_pooled_and_scenarios_compared(root: Path) -> None:
    folders = [
        write_synthetic(
            root / f"{hash_}-{seed}", seed=seed, num_peers=12, num_instants=5 + seed, settings=scenario(**links),
            hash_=hash_ * 64, final=final,
        )
        for hash_, final, links in (("a", 0.9, {"links": {"loss": 0.0}}), ("b", 0.5, {"links": {"loss": 0.3}}))
        for seed in (1, 2)
    ]  # fmt: skip
    write_report(folders, root / "many.html")
    page = Page(root / "many.html")
    assert re.search(r"links.loss = 0.0\s*2", page.text)
    assert re.search(r"links.loss = 0.3\s*2", page.text)
    assert page.text.count("murmuration sim hub-loss --seed 2") == 2
    assert "never" in page.text  # half as accurate: the upper thresholds are out of reach
    assert page.tags.count("img") == 9 + 4


def test_text_of_runs_is_never_markup(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsim.experiments.report.style.svg", lambda figure: b"")  # see test_any_text_can_be_drawn
    evil = "<script>alert(1)</script>&$x^{$ _"
    run = read_run(folder)
    record = msgspec.structs.replace(
        run.record,
        name=evil,
        command=evil,
        counters={evil: 1},
        scenario={"name": evil, "about": evil, evil: {evil: evil}},
        events=[EventRecord(at_s=1.0, name=evil, text=evil, peers=[])],
        peers=[msgspec.structs.replace(peer, group=f"_{evil}{peer.id[-1]}") for peer in run.record.peers[:2]],
        edges_before=[[0, 1]],
        edges_after=[],
        alive_after=[0],
    )
    target = root / "evil"
    with RunWriter(target) as writer:
        for row in run.totals[:2]:
            writer.row(row, _columns(len(record.peers)))
        writer.finish(record, msgspec.structs.replace(TIMING, machine=evil))
    write_report([target], root / "evil.html")
    page = Page(root / "evil.html")
    assert "script" not in page.tags
    assert page.text.count(evil) >= 8


def _columns(num_peers: int, accuracy: float = 0.5) -> dict[str, Any]:
    return {
        "peer": np.arange(num_peers),
        "round": np.zeros(num_peers),
        "accuracy": np.full(num_peers, accuracy),
        "alive": np.ones(num_peers),
        "degree": np.zeros(num_peers),
        "bytes_in": np.zeros(num_peers),
        "bytes_out": np.zeros(num_peers),
    }


def test_a_run_of_which_little_is_known_is_shown_all_the_same(root: Path, folder: Path) -> None:
    run = read_run(folder)
    unknown = dict.fromkeys(name for name in run.totals[0].__struct_fields__ if name.startswith("accuracy"))
    row = msgspec.structs.replace(run.totals[0], **unknown, consensus=None, loss_mean=None, bytes_sent=0)
    record = msgspec.structs.replace(
        run.record, peers=[PeerRecord(id="lonely", group="", samples=0)], events=[], counters={}, command="",
        alive_after=[], edges_before=[], edges_after=[], scenario={},
    )  # fmt: skip
    with RunWriter(root / "little") as writer:
        writer.row(row, _columns(1, math.nan))
        writer.finish(record, TIMING)
    write_report([root / "little"], root / "little.html")
    assert "No event" in Page(root / "little.html").text
    shutil.copytree(root / "little", root / "little2")
    write_report([root / "little", root / "little2"], root / "little.html")
    assert "never" not in Page(root / "little.html").text


def test_neither_the_dead_nor_attackers_have_a_final_accuracy(folder: Path) -> None:
    measured = Measured(read_run(folder))
    final = measured.final_accuracy()
    record = measured.record
    assert np.isnan(final[[peer for event in record.events for peer in event.peers]]).all()
    assert np.isnan(final[[place for place, peer in enumerate(record.peers) if peer.is_byzantine]]).all()
    assert np.isfinite(final).sum() == 27 - sum(peer.is_byzantine for peer in record.peers)


def test_what_is_said_of_a_peer_that_is_gone_is_not_its_accuracy(root: Path, folder: Path) -> None:
    run = read_run(folder)
    with RunWriter(root / "gone") as writer:
        writer.row(run.totals[0], _columns(3) | {"alive": np.array([True, False, True])})
        writer.finish(run.record, TIMING)
    final = Measured(read_run(root / "gone")).final_accuracy()
    assert np.isfinite(final[:3]).tolist() == [True, False, True]


def test_an_unchanged_graph_is_drawn_once(root: Path) -> None:
    run = read_run(write_synthetic(root / "calm", num_peers=12, num_instants=3, share_lost=0.0, has_positions=True))
    graphs = graph_plots(run.record, Measured(run).final_accuracy())
    assert [plot.name for plot in graphs] == ["graph"]
    assert "12 peers, 20 edges. Linked peers are drawn near" in graphs[0].caption


def test_a_map_is_drawn_where_it_shows_something(root: Path) -> None:
    record = read_run(write_synthetic(root / "map", num_peers=12, num_instants=3, has_positions=True)).record
    ring = np.array([(i, (i + 1) % 12) for i in range(12)])
    circle = [[math.cos(i * math.pi / 6), math.sin(i * math.pi / 6)] for i in range(12)]
    far = [circle[5 * i % 12] for i in range(12)]

    def says(places: list[list[float]], events: list[EventRecord]) -> str:
        peers = [msgspec.structs.replace(peer, position=at) for peer, at in zip(record.peers, places, strict=True)]
        return layout(msgspec.structs.replace(record, peers=peers, events=events), ring)[1]

    assert says(circle, []).startswith("Places are those of the scenario")
    assert says(far, []).startswith("Linked peers are drawn near")
    assert says(far, record.events).startswith("Places are those of the scenario")


def test_many_edges_are_sampled_and_that_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsim.experiments.report.graph_picture.MOST_EDGES", 10)
    run = read_run(write_synthetic(root / "dense", num_peers=12, num_instants=3, share_lost=0.0))
    (plot,) = graph_plots(run.record, Measured(run).final_accuracy())
    assert "10 of 20 edges are drawn" in plot.caption


@pytest.mark.parametrize("num_peers", [1, 2, 3, 40])
def test_layouts_are_finite_apart_and_the_same_each_time(num_peers: int) -> None:
    ring = np.array([(i, (i + 1) % num_peers) for i in range(num_peers)])[num_peers == 1 :]
    for placed in (by_degree, by_forces):
        points = placed(num_peers, ring)
        assert np.isfinite(points).all()
        assert np.array_equal(points, placed(num_peers, ring))
        distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(num_peers)
        assert distance.min() > 0.01


def test_forces_draw_linked_peers_near_each_other() -> None:
    cliques = np.array([(a, b) for a in range(20) for b in range(a) if a % 2 == b % 2])
    points = by_forces(20, cliques)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = np.equal.outer(np.arange(20) % 2, np.arange(20) % 2)
    assert distance[same].mean() < 0.6 * distance[~same].mean()


def test_the_best_connected_are_in_the_middle_of_the_sunflower() -> None:
    star = np.array([(3, other) for other in range(10) if other != 3])
    assert np.linalg.norm(by_degree(10, star), axis=1).argmin() == 3


def _texts(events: list[EventRecord]) -> list[tuple[str, float]]:
    _, (axes,) = new_figure("title")
    axes.plot([0, 100], [0, 1])
    mark_events([axes], events, time_unit(100))
    return [(text.get_text(), text.get_position()[1]) for text in axes.texts]


def _at(at_s: float, name: str = "crash") -> EventRecord:
    return EventRecord(at_s=at_s, name=name, text="", peers=[])


def test_events_at_nearly_the_same_time_are_one_line() -> None:
    assert [text for text, _ in _texts([_at(10), _at(10.5), _at(11), _at(50), _at(50.1, "heal")])] == [
        "crash x3",
        "crash",
        "heal",
    ]


def test_labels_that_would_overlap_stand_in_rows() -> None:
    rows = [row for _, row in _texts([_at(10, "partition"), _at(14, "hub-loss"), _at(80, "heal")])]
    assert rows[0] == rows[2] < rows[1]


def test_churn_is_marks_along_the_edge() -> None:
    assert [text for text, _ in _texts([_at(at) for at in range(0, 100, 3)])] == ["34 events"]


def test_units_fit_the_axis() -> None:
    assert [time_unit(at_s).name for at_s in (0, 200, 1000, 20_000, 1e6)] == [
        "seconds", "seconds", "minutes", "hours", "days",
    ]  # fmt: skip
    assert [bytes_unit(most).name for most in (0, 5000, 3e6, 5e9)] == ["bytes", "kB", "MB", "GB"]


@pytest.mark.parametrize("text", ["$x^{$", "a$b", "_hidden", "\x1b[2J", "名前", "a\nb"])
def test_any_text_can_be_drawn(text: str) -> None:
    figure, (axes,) = new_figure(text)
    axes.plot([0, 1], [0, 1], label=plot_text(text))
    axes.legend()
    assert len(axes.get_legend_handles_labels()[0]) == 1
    assert png(figure).startswith(PNG)
    assert svg(figure) == svg(figure)


def test_a_folder_of_runs_stands_for_them(root: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "c.part"):
        shutil.copytree(folder, tmp_path / "runs" / name)
    assert run_folders([tmp_path / "runs", folder, folder]) == [
        tmp_path / "runs" / "a",
        tmp_path / "runs" / "b",
        folder,
    ]


def test_a_run_without_measurements_is_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "totals.jsonl").write_bytes(b"")
    with pytest.raises(ConfigError, match="nothing was measured"):
        write_report([tmp_path / "run"], tmp_path / "page.html")


def test_a_page_that_cannot_be_written_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_of_one", lambda run: ("", "", []))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file"):
        write_report([folder], tmp_path / "file" / "page.html")


def test_the_command_hands_over_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(page_module, "write_report", lambda *args, **more: calls.append((args, more)) or [tmp_path])
    ran = CliRunner().invoke(report, ["a", "b", "--out", "x.html", "--png", "dir", "--group-by", "links.loss"])
    assert ran.exit_code == 0, ran.output
    assert calls == [(((Path("a"), Path("b")), Path("x.html")), {"png_folder": Path("dir"), "group_by": "links.loss"})]
    assert "Report: x.html" in ran.output
    assert CliRunner().invoke(report, []).exit_code == 2


def test_no_plot_needs_a_screen(folder: Path) -> None:
    assert isinstance(read_run(folder), Run)
    assert "matplotlib.pyplot" not in sys.modules
