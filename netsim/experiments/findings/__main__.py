"""Run the experiments and write their page."""

import sys

from netsim.experiments.findings.command import findings
from peer.errors import MurmurationError

if __name__ == "__main__":
    try:
        findings()
    except MurmurationError as error:
        sys.exit(f"findings: {error}")
