"""The experiments that prove the simulator: known results, run again in virtual worlds.

    variation = scenario of the library + settings + seeds  ─▶ run folders ─▶ columns, claims ─▶ docs/experiments.md

One file per experiment; `catalogue.py` lists them, `python -m netsim.experiments.findings` runs them. What was run is
not run again: a run folder is named by the hash of its scenario.
"""
