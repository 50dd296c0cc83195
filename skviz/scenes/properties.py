"""What can be measured of a picture without knowing what it shows."""

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
EDGE = 0.1  # of the range from black to white, per pixel: where the gradient counts as an edge
PROPERTIES = (
    "spectral centroid",  # mean frequency of the amplitude spectrum, cycles per pixel
    "edge density",  # share of pixels with a gradient above EDGE
    "contrast",  # standard deviation of the luma
    "brightness",  # mean of the luma
    "colourfulness",  # Hasler and Süsstrunk's (2003)
)


def properties(images: Tensor) -> Tensor:
    """Measure pictures.

    Parameters
    ----------
    images
        (N, 3, S, S) in 0…1.

    Returns
    -------
    Tensor
        (N, property), in the order of `PROPERTIES`.
    """
    images = images.double()
    luma = torch.einsum("c,nchw->nhw", torch.tensor(LUMA, dtype=images.dtype), images)
    height, width = luma.shape[-2:]
    mean = luma.mean((1, 2))
    # A window, so that the border is no edge to the spectrum.
    window = torch.hann_window(height).outer(torch.hann_window(width)).to(luma)
    amplitude = torch.fft.rfft2((luma - mean[:, None, None]) * window).abs()
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)).to(luma)
    centroid = (amplitude * frequency).sum((1, 2)) / amplitude.sum((1, 2)).clamp(min=1e-12)
    y, x = torch.gradient(luma, dim=(1, 2))
    edges = (torch.hypot(y, x) > EDGE).double().mean((1, 2))
    red, green, blue = images.unbind(1)
    opponent = torch.stack([red - green, (red + green) / 2 - blue], 1).flatten(2)  # (N, 2, pixels)
    spread, middle = opponent.std(2).norm(dim=1), opponent.mean(2).norm(dim=1)
    contrast = luma.std((1, 2))
    return torch.stack([centroid, edges, contrast, mean, spread + 0.3 * middle], 1)


def of_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of each mask (N, S, S) that is covered, and its longer side, of the canvas.

    (N,) each.
    """
    inside = mask > 0.5
    longest = torch.maximum(inside.any(2).sum(1), inside.any(1).sum(1))
    return mask.mean((1, 2)), longest / mask.shape[-1]
