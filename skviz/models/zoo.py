"""Networks by name: the shipped ones, and checkpoints in the same layout.

A network is one safetensors file; its header carries, as JSON, what is needed to build it and to
know what it is (`Card`). Nothing is unpickled and nothing is downloaded.
"""

import hashlib
import importlib
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from skviz import assets
from skviz.errors import ModelError, entrance
from skviz.models.card import Card
from skviz.models.nn import SKNet
from skviz.models.wrapped import wrap

HEADER = "skviz"
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names() -> list[str]:
    """List the shipped networks."""
    return [Path(name).stem for name in assets.names_in("models", ".safetensors")]


@entrance
def load(name: str | Path = "objects", *, pretrained: bool = True) -> nn.Module:
    """Load a network, in evaluation mode, on the CPU.

    Parameters
    ----------
    name
        A shipped network (see `names`), the path of a file that `save` wrote, ``"timm/…"`` for one
        of timm's, or ``"package.module:function"``, which is imported (also from the folder that
        one is in) and called without arguments.
    pretrained
        For timm: fetch ImageNet weights, rather than leaving them random.

    Returns
    -------
    nn.Module
        Takes images (B, 3, H, W) in 0…1. All but one's own have a `Card` as ``card``, and one's own
        if the function gives what `skviz.wrap` gives.

    Raises
    ------
    ModelError
        If the name is unknown, the file is not such a network, the weights cannot be had, or the
        function cannot be imported or gives no module.

    Examples
    --------
    >>> import skviz
    >>> model = skviz.load("objects")
    >>> model.card.canvas, len(model.card.categories)
    (96, 67)
    """
    if str(name).startswith("timm/"):
        return load_timm(str(name).removeprefix("timm/"), pretrained)
    if str(name) in names():
        assets.read_bytes(f"models/{name}.safetensors")  # which looks at it
        return built(assets.data_folder() / "models" / f"{name}.safetensors")
    try:
        if Path(name).suffix == ".safetensors" and Path(name).is_file():
            return built(Path(name))
    except OSError as error:
        raise ModelError(f"{str(name)[:80]!r} cannot be read ({error.strerror})") from error
    if FUNCTION.fullmatch(str(name)):
        return called(*str(name).split(":"))
    raise ModelError(
        f"no network {str(name)[:80]!r}; shipped are {names()}, or give the path of a "
        ".safetensors file that skviz saved, timm/NAME, or package.module:function"
    )


def built(path: Path) -> SKNet:
    """Build a network of what a file holds, if that is what its card says.

    Nothing is made that a card asks for and the file does not hold.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            card = entrance(Card)(**json.loads((file.metadata() or {})[HEADER]))
        if sum(card.network["depths"]) * len(card.network.get("kernels", "12")) > len(held):
            raise ValueError("its card tells of more units than it holds")
        with torch.device("meta"):
            model = SKNet(**card.network, num_classes=len(card.categories))
        if floats(held) != floats(model.state_dict()):
            raise ValueError("its tensors are not those of its card")
        model.load_state_dict(held, assign=True)
    except (
        safetensors.SafetensorError, ModelError, LookupError, TypeError, ValueError, RuntimeError,
        AttributeError, MemoryError,
    ) as error:  # fmt: skip
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path.name[-80:]} is not a network that skviz saved ({type(error).__name__}: {why})"
        ) from error
    model.card = card  # type: ignore[assignment]
    return model.float().eval()


def floats(tensors: dict[str, Tensor]) -> dict[str, bool]:
    """Say of named tensors which hold floats."""
    return {name: tensor.is_floating_point() for name, tensor in tensors.items()}


def called(module: str, function: str) -> nn.Module:
    """Import a function and return the network that it gives, in evaluation mode."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        model = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever somebody else's module raises
        raise ModelError(
            f"{module}:{function} gives no network: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(model, nn.Module):
        raise ModelError(f"{module}:{function} gives {type(model).__name__}, not a torch module")
    return model.eval()


def load_timm(name: str, pretrained: bool) -> nn.Module:
    """Build a network of timm, which needs torchvision."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"timm cannot be imported ({error}); `pip install timm`, with the release of "
            f"torchvision that was built for torch {torch.__version__}"
        ) from error
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
