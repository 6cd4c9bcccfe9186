"""A batch on a Ray cluster of two nodes on this machine. Needs ray."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from support import crew as support
from support.samples import make_scan
from umlite.batch.errand import Errand
from umlite.batch.jobs import lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.on_ray import run_on_ray
from umlite.batch.orders import Orders
from umlite.batch.run import run_jobs
from umlite.engines.options import EngineOptions
from umlite.products.wanted import Wanted
from umlite.request import Request

ORDERS = Orders(Request(("liver",), overlap=0.0), Wanted(checks=False))
OPTIONS = EngineOptions(device="cpu", threads=1)


@pytest.mark.slow
def test_a_lost_node_loses_nothing(small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # of the nodes' processes
    pytest.importorskip("ray")  # after the settings above, which it reads when it is imported
    from ray.cluster_utils import Cluster

    paths = [tmp_path / f"{n}.nii" for n in range(12)]
    for seed, path in enumerate(paths):
        nib.save(make_scan((20, 18, 16), seed=seed), path)
    (tmp_path / "bad.nii").write_text("no scan")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node: Any = cluster.add_node(num_cpus=1)
    try:
        errand = Errand(
            small_weights, (), OPTIONS, ORDERS, frozenset(), partial(support.load, small_weights), support.forecast
        )
        jobs = lay_out_jobs([*paths, tmp_path / "bad.nii"], tmp_path / "ray")
        found = []
        for told in run_on_ray(errand, iter(jobs), lambda _job: None, cluster.address):
            found.append(told)
            if len(found) == 3:
                cluster.remove_node(node, allow_graceful=False)
        assert sorted(told.code for told in found if told.error) == ["input"]
        assert len(found) == len(jobs)
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
    model = Model(small_weights, OPTIONS, partial(support.load, small_weights, OPTIONS))
    list(run_jobs(model, lay_out_jobs(paths, tmp_path / "one"), ORDERS))
    for path in (tmp_path / "one").rglob("*.nii.gz"):
        assert (tmp_path / "ray" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()
