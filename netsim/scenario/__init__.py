"""The scenario file: one experiment, said once, run in every world."""

from netsim.scenario.reading import read_scenario, scenario_hash, scenario_of
from netsim.scenario.scenario_file import Scenario

__all__ = ["Scenario", "read_scenario", "scenario_hash", "scenario_of"]
