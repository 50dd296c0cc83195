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
