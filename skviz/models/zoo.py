"""Networks by name: the shipped ones, and checkpoints in the same layout.

A network is one safetensors file; its header carries, as JSON, what is needed to build it and to
know what it is (`Card`). Nothing is unpickled and nothing is downloaded.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from skviz import assets
from skviz.errors import ModelError, entrance
from skviz.models.card import Card
from skviz.models.nn import SKNet
from skviz.models.wrapped import wrap

__all__ = ["Card", "load", "names", "save"]

HEADER = "skviz"


def names() -> list[str]:
    """List the shipped networks."""
    return [Path(name).stem for name in assets.names_in("models", ".safetensors")]


@entrance
def load(name: str | Path = "objects", *, pretrained: bool = True) -> nn.Module:
    """Load a network, in evaluation mode, on the CPU.

    Parameters
    ----------
    name
        A shipped network (see `names`), the path of a file that `save` wrote, or ``"timm/…"`` for
        one of timm's.
    pretrained
        For timm: fetch ImageNet weights, rather than leaving them random.

    Returns
    -------
    nn.Module
        Takes images (B, 3, H, W), shipped networks in 0…1; these have a `Card` as ``card``.

    Raises
    ------
    ModelError
        If the name is unknown, the file is not such a network, or the weights cannot be had.
    """
    if str(name).startswith("timm/"):
        return load_timm(str(name).removeprefix("timm/"), pretrained)
    if str(name) in names():
        content = assets.read_bytes(f"models/{name}.safetensors")
    elif Path(name).suffix == ".safetensors" and Path(name).is_file():
        content = Path(name).read_bytes()
    else:
        raise ModelError(
            f"no network {str(name)!r}; shipped are {names()}, or give the path of a "
            ".safetensors file that skviz saved"
        )
    try:
        weights = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])["__metadata__"][HEADER]
        fields = json.loads(header)
        card = Card(**fields | {"categories": tuple(fields["categories"])})
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} is not a network that skviz saved: {error!r}") from error
    model = SKNet(**card.network, num_classes=len(card.categories))
    model.load_state_dict(weights)
    model.card = card  # type: ignore[assignment]
    return model.eval()


def load_timm(name: str, pretrained: bool) -> nn.Module:
    """Build a network of timm, which needs torchvision."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"torchvision cannot be imported beside torch {torch.__version__} ({error}); install "
            "the release of torchvision that was built for this torch"
        ) from error
    try:
        import timm
    except ImportError as error:
        raise ModelError("timm is not installed; `pip install timm`") from error
    if not timm.is_model(name):
        raise ModelError(f"timm {timm.__version__} has no network {name!r}")
    try:
        return wrap(timm.create_model(name, pretrained=pretrained).eval(), name=f"timm/{name}")
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"the weights of timm/{name} could not be fetched ({type(error).__name__}); connect to "
            "the internet once, or use pretrained=False for random weights"
        ) from error


def save(model: SKNet, card: Card, path: Path) -> None:
    """Write a network and its card; the same weights and card give the same bytes."""
    header = {HEADER: json.dumps(asdict(card), sort_keys=True)}
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    path.write_bytes(safetensors.torch.save(weights, header))


def weights_hash(model: nn.Module) -> str:
    """Return the sha256 of a model's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
