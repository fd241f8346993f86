"""What several tests, and benchmarks, need: fake endpoints, small models, simulated worlds, ready-made artifacts."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the source tree
