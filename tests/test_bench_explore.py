"""bench_explore runs at its smallest size, from simulated skies to figures that are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from browser import can_look


@pytest.mark.slow
def test_quick_run_gives_every_figure():
    can_look()
    script = Path(__file__).parents[1] / "benchmarks" / "bench_explore.py"
    ended = subprocess.run([sys.executable, script, "--quick", "--json"], capture_output=True, text=True, check=True)
    rows = {row["what"]: row for row in json.loads(ended.stdout.splitlines()[-1])["rows"]}
    assert len(rows) == 14
    assert all(row["value"] is not None and row["value"] >= 0 for row in rows.values())
    assert rows["pan, frames drawn a second"]["points"] > 1_000
