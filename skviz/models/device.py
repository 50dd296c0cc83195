"""Where computations run."""

import torch

from skviz.errors import ModelError


def resolve(device: str | torch.device = "auto") -> torch.device:
    """Return the device named, where ``"auto"`` is CUDA if there is one, and else the CPU.

    Raises
    ------
    ModelError
        If the name is no device, CUDA is asked for and absent, or nothing can be computed there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r} is not known; use 'auto', 'cpu' or 'cuda'") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda' was asked for, but torch finds no CUDA GPU; use 'auto'")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"nothing can be computed on {found} ({first}); use 'auto'") from error
    return found
