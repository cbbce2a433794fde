"""The helper of the benchmark scripts, and bench_search at its small size."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bench_search_quick_prints_table_and_one_last_line_of_json() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_search.py"), "--quick", "--json", "--rows", "3000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    result = json.loads(lines[-1])
    assert result["recall_at_10"] == 1.0
    assert 1.0 <= result["vector_bytes_ratio"] <= 1.05
    assert result["ms_per_query"] > 0
    assert result["ratio_to_numpy"] > 0
    assert result["environment"]["numpy"] == np.__version__
    assert any(line.strip().startswith("seed: 0") for line in lines)
    assert any(line.startswith("one query") for line in lines)


def test_bench_search_brute_force_is_right(monkeypatch) -> None:
    bench = load("bench_search", monkeypatch)
    vectors = bench.make_vectors(500, 16, 3)
    assert np.array_equal(vectors, bench.make_vectors(500, 16, 3))
    assert vectors.std() == pytest.approx(np.sqrt(1.25), abs=0.05)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = bench.brute_force(unit, vectors[:4])
    for row, near in enumerate(found):
        assert near.tolist() == np.argsort(-(unit @ unit[row]))[:10].tolist()
        assert near[0] == row


def test_environment_names_machine_and_versions_and_no_date(monkeypatch, capsys) -> None:
    env = load("_env", monkeypatch)
    found = env.environment()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["threads"]
    assert not {"date", "time", "host"} & set(found)
    json.dumps(found)
    env.print_environment(seed=7)
    assert "seed: 7" in capsys.readouterr().out


def test_paired_and_median_time_what_they_are_given(monkeypatch) -> None:
    env = load("_env", monkeypatch)
    clock = [0.0]
    monkeypatch.setattr(env.time, "perf_counter", lambda: clock[0])
    calls = []

    def takes(name: str, durations: list[float]):
        left = iter(durations)

        def work() -> None:
            calls.append(name)
            clock[0] += next(left)

        return work

    result = env.paired(3, takes("a", [9, 1, 2, 1]), takes("b", [9, 2, 2, 4]))
    assert calls == ["a", "b"] * 4
    assert result == (1, 2, 2)  # medians of 1, 2, 1 and 2, 2, 4; of the ratios 2, 1, 4
    assert env.median_of(3, takes("c", [50, 5, 1, 3])) == 3


def test_report_prints_every_column_and_json_last(monkeypatch, capsys) -> None:
    env = load("_env", monkeypatch)
    env.report([{"what": "x", "ms": 1.23456}, {"what": "long name", "other": 2}], True, figure=0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "ms", "other"]
    assert lines[1].split() == ["x", "1.235", "-"]
    result = json.loads(lines[-1])
    assert result["figure"] == 0.5
    assert result["rows"][1] == {"what": "long name", "other": 2}
    env.report([], False, figure=0.5)
    assert capsys.readouterr().out == "figure = 0.5\n"


def test_arguments_are_those_of_every_benchmark(monkeypatch) -> None:
    options = load("_env", monkeypatch).arguments("text").parse_args(["--quick", "--seed", "3"])
    assert (options.quick, options.json, options.seed, options.threads) == (True, False, 3, 0)
