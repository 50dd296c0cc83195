"""Studies on a local cluster, with and without a death."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

import skviz
from skviz.studies.disk import Disk
from tests.chaos.test_killed import same

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    # Starting workers leaves settings for them in this process's environment.
    before, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)
    environment = {"OMP_NUM_THREADS": "1"}
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, env=environment
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made
    os.environ.clear()
    os.environ.update(before)
    torch.set_num_threads(threads)


@pytest.mark.long
def test_a_worker_that_dies_changes_nothing(client, tmp_path):
    model = skviz.load("objects")
    scenes = skviz.place(skviz.objects(family="fxemoji")[:60])
    options = {"scales": [1.0, 2.0], "batch": 4, "chunk": 4, "progress": False, "device": "cpu"}
    skviz.sweep(model, scenes, store=tmp_path / "here.zarr", **options)
    path = tmp_path / "there.zarr"
    killed = []

    def kill() -> None:
        while not path.exists() or len(Disk(path).pending()) > 12:
            time.sleep(0.02)
        victim = next(iter(client.run(os.getpid).values()))
        killed.append(len(Disk(path).pending()))
        os.kill(victim, signal.SIGKILL)

    assassin = threading.Thread(target=kill)
    assassin.start()
    skviz.sweep(model, scenes, store=path, client=client, **options)
    assassin.join()
    assert killed[0] > 0
    assert same(tmp_path / "here.zarr", path)
    # What was done is not done again, and the workers forget the study.
    done = (path / "done/c/0").stat().st_mtime_ns
    skviz.sweep(model, scenes, store=path, client=client, **options)
    assert (path / "done/c/0").stat().st_mtime_ns == done
    known = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not any(name.startswith("skviz") for names in known.values() for name in names)


def maps(model, scenes, **options):
    targets = [skviz.target.difference("stage2.1.sk"), "category"]
    return skviz.attribute(model, scenes, target=targets, method="saliency", **options)


@pytest.mark.long
@pytest.mark.parametrize("study", [maps, skviz.factorial, skviz.readings])
def test_workers_measure_what_is_measured_here(client, tmp_path, study):
    model, scenes = skviz.load("objects"), skviz.place(skviz.objects(family="fxemoji")[:8])
    options = {"batch": 4, "chunk": 4, "progress": False, "device": "cpu"}
    here = study(model, scenes, **options)
    there = study(model, scenes, store=tmp_path / "s.zarr", client=client, **options)
    assert there.attrs == here.attrs
    for name in here.variables:
        np.testing.assert_array_equal(there[name].values, here[name].values, err_msg=name)
