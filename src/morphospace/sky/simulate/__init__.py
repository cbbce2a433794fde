"""Simulated skies whose every factor is known: for tests, documentation and benchmarks at scale."""

from __future__ import annotations

from morphospace.sky.simulate.output import write_fits, write_sky
from morphospace.sky.simulate.skies import KINDS, Sky, simulate

__all__ = ["KINDS", "Sky", "simulate", "write_fits", "write_sky"]
