"""Every mistake in a settings file costs one line that names the file, the setting and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peer.config.peer_file import PeerFile
from peer.config.reading import MAX_FILE_BYTES, read_peer_file, read_swarm_file
from peer.errors import ConfigError

TASK = '\n[task]\nname = "digits-mlp"\n'


def complaint(tmp_path: Path, text: str | bytes, name: str = "peer.toml") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        (read_peer_file if name == "peer.toml" else read_swarm_file)(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line.removeprefix(str(path))


def swarm_complaint(tmp_path: Path, text: str) -> str:
    return complaint(tmp_path, f'name = "x"\n{text}{TASK}', "swarm.toml")


def test_an_empty_peer_file_is_all_defaults_with_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "peer.toml").touch()
    peer = read_peer_file(tmp_path / "peer.toml")
    assert peer.identity.key == tmp_path / "identity.key"
    assert peer.swarm.file == tmp_path / "swarm.toml"
    assert peer.store.folder == tmp_path / "state"
    assert peer.control.socket == tmp_path / "control.sock"
    assert (peer.net, peer.train, peer.data, peer.log) == (
        PeerFile().net,
        PeerFile().train,
        PeerFile().data,
        PeerFile().log,
    )


def test_paths_are_relative_to_the_file_unless_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir(tmp_path)
    Path("peer.toml").write_text('[store]\nfolder = "../s"\n[swarm]\nfile = "/etc/s.toml"\n[identity]\nkey = "~/key"\n')
    peer = read_peer_file(Path("peer.toml"))
    assert peer.store.folder == tmp_path / "../s"
    assert peer.swarm.file == Path("/etc/s.toml")
    assert peer.identity.key == Path("/home/someone/key")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[net]\nmax_link = 3", ": net.max_link is not a setting; did you mean net.max_links?"),
        ("[net]\nkeepalive_ms = 3", ": net.keepalive_ms is not a setting; did you mean net.keepalive_s (in seconds)?"),
        ("max_links = 3", ": max_links is not a setting; max_links belongs under [net]"),
        ("[netz]\nmax_links = 3", ": netz is not a setting; did you mean net?"),
        (
            '"a\\nb" = 3',
            ': "a\\nb" is not a setting; known here: identity, swarm, net, store, train, data, control, log',
        ),
        ("net = 3", ": net is a table of settings; write [net] on a line of its own and its settings below"),
        ("[net]\nmax_links = 0", ": net.max_links = 0: write a whole number from 1 to 4096, e.g. 32"),
        ("[net]\nmax_links = true", ": net.max_links = true: write a whole number from 1 to 4096, e.g. 32"),
        ("[net]\nmax_links = 2.5", ": net.max_links = 2.5: write a whole number from 1 to 4096, e.g. 32"),
        (
            '[net]\nstall_s = "2 min"',
            ': net.stall_s = "2 min": write a number of seconds from 0.01 to 86400, e.g. 10.0',
        ),
        (
            '[store]\nmax_bytes = "2 GB"',
            ': store.max_bytes = "2 GB": write a whole number of bytes from 1048576 to 1000000000000000000, '
            "e.g. 2147483648",
        ),
        (
            "[train]\nhang_timeout_s = nan",
            ": train.hang_timeout_s = nan: write a number of seconds from 1 to 86400, e.g. 120.0",
        ),
        (
            "[train]\nhang_timeout_s = inf",
            ": train.hang_timeout_s = inf: write a number of seconds from 1 to 86400, e.g. 120.0",
        ),
        ('[net]\nprofile = "moon"', ': net.profile = "moon": write one of "lan", "local", "wan"'),
        ('[train]\nenabled = "yes"', ': train.enabled = "yes": write true or false, e.g. true'),
        ("[identity]\nkey = 3", ': identity.key = 3: write a path in quotes, e.g. "identity.key"'),
        ('[identity]\nkey = ""', ': identity.key = "": write a path in quotes, e.g. "identity.key"'),
        (
            '[swarm]\nbootstrap = ["/ip4/10.0.0.1/tcp/1", "10.0.0.2"]',
            ': swarm.bootstrap[1] = "10.0.0.2": write a list, e.g. ["/ip4/192.0.2.1/tcp/4001"] '
            "(Addresses of members to begin with)",
        ),
        (
            '[train]\ndevice = "gpu"',
            ': train.device = "gpu": write text in quotes, e.g. "auto" '
            "(Where torch computes: auto (CUDA where present, else cpu), cpu, mps, cuda or cuda:<number>)",
        ),
        ("[net]\ndial_backoff_s = 500", ": net.dial_backoff_s: 500 is larger than dial_backoff_max_s (30)"),
        ("[train]\nrestart_backoff_s = 90", ": train.restart_backoff_s: 90 is larger than restart_backoff_max_s (60)"),
        ("[data]\nindex = 3\nof = 3", ": data.index: 3 must be smaller than of (3)"),
        (
            '[control]\nhttp = "0.0.0.0:80"',
            ': control.http: "0.0.0.0:80" is not on loopback, and no password guards it; write e.g. "127.0.0.1:9464" '
            "and use an SSH tunnel from elsewhere",
        ),
        (
            '[control]\nhttp = "127.0.0.1"',
            ': control.http: "127.0.0.1" is not an address with a port; write e.g. "127.0.0.1:9464"',
        ),
        ("a = 1\n[net\n", ":2: not valid TOML: expected ']' at the end of a table declaration"),
        ("a = 1\na = 2", ":2: not valid TOML: cannot overwrite a value"),
        ("a = '''", ":1: not valid TOML: expected \"'''\""),
        (b"a = 1\nb = '\xff'", ":2: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_mistakes_in_peer_toml(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert complaint(tmp_path, text) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[rounds]\ndeadline_ms = 3",
            ": rounds.deadline_ms is not a setting; did you mean rounds.deadline_s (in seconds)?",
        ),
        (
            '[rounds]\ndeadline_s = "2 min"',
            ': rounds.deadline_s = "2 min": write a number of seconds from 0.05 to 86400, e.g. 10.0',
        ),
        ("[rounds]\nquorum = 1.5", ": rounds.quorum = 1.5: write a number from 0 to 1, e.g. 0.75"),
        ('[membership]\nadmission = "invite"', ': membership.admission = "invite" is not available yet; write "open"'),
        ('[membership]\nadmission = "none"', ': membership.admission = "none": write "open"'),
        ("[membership]\ntimeout_s = 1", ": membership.timeout_s: 1 must be at least 3 * heartbeat_s (2)"),
        ('topology = "ring"', ': topology = "ring": write topology = { name = "ring" }'),
        ("topology = 3", ': topology = 3: write a table with a name, e.g. { name = "regular", degree = 4 }'),
        (
            "[method.step]\nlr = 3",
            ': method.step.name is missing; write a table with a name, e.g. { name = "sgd", lr = 0.1 }',
        ),
    ],
)
def test_mistakes_in_swarm_toml(tmp_path: Path, text: str, line: str) -> None:
    assert swarm_complaint(tmp_path, text) == line


def test_settings_without_default_must_be_given(tmp_path: Path) -> None:
    assert complaint(tmp_path, TASK, "swarm.toml") == (
        ': name is missing; write text in quotes of at most 64 characters, e.g. "digits"'
    )
    assert complaint(tmp_path, 'name = "x"', "swarm.toml") == (
        ': task is missing; write a table with a name, e.g. { name = "digits-mlp" }'
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file; `murmuration init` makes one"):
        read_peer_file(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_peer_file(tmp_path)
    assert "that is no settings file" in complaint(tmp_path, b"#" * (MAX_FILE_BYTES + 1))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["net", "swarm", "rounds", "task", "topology", "method", "name", "x"]),
        st.dictionaries(st.sampled_from(["listen", "bootstrap", "step", "quorum", "name", "x"]), _values) | _values,
    )
)
def test_whatever_toml_says_it_is_read_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_: dict[str, object]
) -> None:
    monkeypatch.setattr("peer.config.reading.tomllib.loads", lambda _text: given_)
    (tmp_path / "any.toml").touch()
    for read in (read_peer_file, read_swarm_file):
        try:
            read(tmp_path / "any.toml")
        except ConfigError as error:
            assert "\n" not in str(error)  # noqa: PT017  # it need not raise
