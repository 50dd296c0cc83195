import resource
import subprocess
import sys

import pytest
import torch

from skviz.errors import ModelError
from skviz.models.device import resolve


@pytest.mark.parametrize("there", [False, True])
def test_auto_takes_a_gpu_where_there_is_one(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve().type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_a_device_named_is_taken(name: str | torch.device) -> None:
    assert resolve(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"device '{name}' is not known; use 'auto'"):
        resolve(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", torch.device("cuda")])
def test_cuda_where_there_is_none_is_refused(
    name: str | torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="torch finds no CUDA GPU; use 'auto'"):
        resolve(name)


FAULTS = """
import resource, torch
from skviz.models.device import memory_kept

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults(2**24)
with memory_kept():
    faults(2**24)
    inside = faults(2**24)
print(usual, inside, faults(2**27))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
def test_memory_is_kept_inside_only() -> None:
    """Page faults say so; in a process of its own, as thresholds are of a whole process."""
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, inside, after = map(int, run.stdout.split())
    pages = 2**26 // resource.getpagesize()  # of 64 MiB
    assert usual > 5 * pages / 512, "got from the system each time, in pages of up to 2 MiB"
    assert inside < usual / 100, "used again"
    assert after > 5 * pages / 512, "not kept any more"
