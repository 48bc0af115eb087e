"""What must stay light stays light."""

import subprocess
import sys

import pytest

LIGHT = ["transport", "framing", "memory", "limits", "fetch", "serve", "links", "pace"]


@pytest.mark.parametrize("forbidden", ["libp2p", "torch"])
def test_only_the_host_imports_libp2p(forbidden):
    imports = "; ".join(f"import peer.net.{name}" for name in LIGHT)
    check = f"import sys; {imports}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
