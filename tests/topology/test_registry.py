import subprocess
import sys
import textwrap

import msgspec
import pytest

from topology.errors import BadParameterError, BrokenPieceError, DuplicatePieceError, UnknownPieceError
from topology.registry import Registry

GROUP = "murmuration.test_pieces"


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: int = 1


class Loud:
    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        volume: float
        inner: Inner = Inner()

    def __init__(self, config):
        self.config = config


class Quiet:
    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        pass

    def __init__(self, config):
        self.config = config


@pytest.fixture
def registry():
    return Registry("voice", GROUP, {"loud": f"{__name__}:Loud"})


def test_a_built_in_piece_is_built_from_its_parameters(registry):
    piece = registry.build("loud", {"volume": 2, "inner": {"depth": 3}})
    assert isinstance(piece, Loud)
    assert (piece.config.volume, piece.config.inner.depth) == (2.0, 3)


def test_a_piece_registered_at_runtime_is_known_until_it_is_forgotten(registry):
    registry.register("quiet")(Quiet)
    assert registry.names() == ("loud", "quiet")
    assert isinstance(registry.build("quiet"), Quiet)
    registry.unregister("quiet")
    registry.unregister("loud")  # a built-in one stays
    assert registry.names() == ("loud",)
    with pytest.raises(UnknownPieceError):
        registry.build("quiet")


def test_an_unknown_name_offers_the_nearest_and_lists_all(registry):
    with pytest.raises(UnknownPieceError, match=r"unknown voice 'lound'; did you mean 'loud'\? \(known: loud\)"):
        registry.build("lound")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"volum": 1.0},
            r"voice 'loud' has no parameter 'volum'; did you mean 'volume'\? \(parameters: volume, inner\)",
        ),
        ({"volume": "11"}, r"voice 'loud': parameter 'volume': expected float, got str"),
        ({}, r"voice 'loud': object missing required field volume"),
        ({"volume": 1.0, "inner": {"dept": 1}}, r"parameter 'inner': object contains unknown field dept"),
    ],
)
def test_wrong_parameters_say_what_is_wrong(registry, params, message):
    with pytest.raises(BadParameterError, match=message):
        registry.check("loud", params)


def test_a_piece_without_parameters_says_so(registry):
    registry.register("quiet")(Quiet)
    with pytest.raises(BadParameterError, match="it takes no parameters"):
        registry.build("quiet", {"volume": 1})


def test_a_taken_name_is_refused_and_registering_the_same_class_again_is_not(registry):
    registry.register("quiet")(Quiet)
    registry.register("quiet")(Quiet)
    with pytest.raises(DuplicatePieceError):
        registry.register("quiet")(Loud)
    with pytest.raises(DuplicatePieceError):
        registry.register("loud")(Quiet)


def test_a_class_that_is_no_piece_is_refused(registry):
    class NoConfig:
        pass

    class LaxConfig:
        class Config(msgspec.Struct):
            pass

    for cls in (NoConfig, LaxConfig):
        with pytest.raises(BrokenPieceError):
            registry.register("x")(cls)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a one-file package with an entry point, as a wheel would."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(module, name, source, cls="Whisper"):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:{cls}\n")

    yield put
    for module in [m for m in sys.modules if m.startswith("outside_")]:
        del sys.modules[module]


WHISPER = """
    import msgspec

    class Whisper:
        class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
            softly: bool = True

        def __init__(self, config):
            self.config = config
"""


def test_an_outside_package_joins_by_its_entry_point(registry, install):
    install("outside_one", "whisper", WHISPER)
    assert registry.names() == ("loud", "whisper")
    assert "outside_one" not in sys.modules  # listing imports nothing
    assert registry.build("whisper", {"softly": False}).config.softly is False
    with pytest.raises(BadParameterError, match="did you mean 'softly'"):
        registry.build("whisper", {"softl": False})


def test_two_outside_packages_may_not_claim_one_name(registry, install):
    install("outside_two", "whisper", WHISPER)
    install("outside_three", "whisper", WHISPER)
    with pytest.raises(DuplicatePieceError, match="outside_three:Whisper and outside_two:Whisper"):
        registry.build("whisper")


def test_an_outside_package_may_not_take_a_built_in_name(registry, install):
    install("outside_four", "loud", WHISPER)
    assert isinstance(registry.build("loud", {"volume": 1}), Loud)
    with pytest.raises(DuplicatePieceError, match="outside_four:Whisper"):
        registry.names()


@pytest.mark.parametrize("source", ["raise RuntimeError('no')", "import no_such_module", "Whisper = 3", "x = 1"])
def test_a_broken_outside_piece_is_named(registry, install, source):
    install("outside_five", "whisper", source)
    with pytest.raises(BrokenPieceError, match="whisper"):
        registry.build("whisper")


def test_graph_families_are_found_without_numpy_or_networkx():
    code = (
        "import sys, topology, topology.registry; from topology.families import registry\n"
        "for n in registry.names(): registry.config(n)\n"
        "heavy = {'numpy', 'networkx', 'torch', 'trio', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr.strip() == b""
