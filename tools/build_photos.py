"""Rebuild `data/photos`: four photographs of scikit-image and the masks of their objects.

    python tools/build_photos.py [--check FOLDER]

The outlines below are the masks' source. They were placed by hand (the cat, the rocket) or placed
by hand, snapped to the nearest edge with GrabCut and corrected by hand (the astronaut, the cup),
and checked by eye. `--check` writes each object on magenta beside its hole in green, to look
again. The same outlines give the same bytes.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from skimage import data

LONGEST = 512
OVERSAMPLE = 8


@dataclass(frozen=True)
class Outline:
    """The border of an object.

    Attributes
    ----------
    points
        "x,y x,y …" in pixels of the shipped photograph, (0, 0) its top left corner; outside it
        where the object goes on.
    edge
        Standard deviation in pixels of the mask's soft edge, as sharp as the photograph is there.
    """

    points: str
    edge: float


OUTLINES = {
    # The person with suit and the helmet she holds.
    "astronaut": Outline(
        """
        527.8,528.0 55.8,528.0 54.5,527.8 54.5,513.2 53.8,511.2 50.2,508.8 44.8,506.4 37.2,502.3
        30.7,495.8 28.3,490.8 26.2,483.8 25.0,477.8 24.9,473.2 24.1,470.2 23.9,463.8 23.0,459.2
        23.0,444.2 24.4,436.2 21.4,421.8 18.1,416.2 17.6,414.8 19.0,410.2 19.0,406.2 18.5,403.2
        18.5,395.2 20.2,386.2 21.9,381.8 23.2,374.8 24.9,370.8 25.9,364.2 25.8,343.8 27.2,339.4
        28.9,335.8 31.1,326.8 33.4,320.2 33.5,318.2 34.1,316.2 38.8,305.8 39.1,300.2 39.8,297.8
        40.2,294.8 42.7,288.8 44.2,283.2 45.8,279.2 50.3,271.2 53.7,267.2 56.2,260.3 60.5,252.8
        65.8,246.1 69.1,242.8 73.8,239.0 76.2,235.6 88.2,227.6 91.2,226.0 98.2,219.3 100.8,216.0
        103.8,214.4 105.5,212.8 109.5,207.2 112.5,205.2 113.9,200.8 114.5,197.2 113.1,190.2
        113.4,188.2 114.8,186.8 117.8,185.8 119.1,184.8 127.2,170.2 132.0,164.2 137.2,159.9
        153.2,151.3 163.2,149.1 168.8,149.0 171.8,148.5 181.8,148.5 182.8,148.3 183.4,147.8
        181.6,132.8 180.8,132.1 177.8,131.4 174.6,128.8 171.3,123.2 169.2,117.6 167.2,115.8
        164.9,112.2 162.3,110.2 158.6,106.2 157.6,104.8 155.7,100.8 155.1,98.2 154.0,88.8
        153.6,67.2 155.2,61.2 156.3,58.8 162.8,52.0 170.8,46.4 173.8,43.7 187.2,36.4 190.2,33.9
        192.1,30.2 197.2,26.2 200.2,24.9 203.8,22.2 207.2,20.7 208.8,20.7 211.2,21.4 212.8,21.3
        215.8,20.5 219.8,18.2 223.2,17.8 228.8,16.1 240.8,16.1 252.8,20.0 256.5,22.2 259.2,22.8
        260.8,23.7 262.8,24.3 270.2,28.7 275.8,31.0 283.4,36.8 286.4,39.8 295.5,55.8 296.8,59.2
        297.1,65.2 299.9,73.2 300.0,76.8 301.5,86.2 301.5,89.8 300.4,95.8 298.1,101.2 297.2,104.2
        296.8,106.8 295.8,109.6 292.0,115.8 289.8,118.5 282.0,126.2 276.2,134.0 272.2,136.5
        268.2,137.2 267.2,138.2 265.9,145.2 264.7,149.2 262.5,153.8 258.3,160.2 257.2,163.4
        256.1,169.2 256.4,173.2 257.7,174.8 264.8,179.6 274.8,188.0 284.8,198.0 289.4,203.2
        295.2,211.9 299.4,219.2 302.7,228.2 303.4,231.2 305.1,234.2 313.2,239.7 320.2,243.6
        329.2,252.0 332.8,254.0 340.2,261.9 343.5,268.2 346.0,271.8 349.0,282.2 352.4,286.2
        353.2,288.1 354.2,293.8 356.3,299.8 356.9,302.8 358.6,318.8 359.6,324.2 363.3,331.8
        363.0,332.8 361.5,334.2 361.1,335.2 361.7,341.8 362.7,343.8 365.8,347.6 366.8,348.1
        367.8,348.0 380.2,344.1 393.8,343.0 395.2,343.2 397.8,344.5 405.2,344.5 412.8,345.5
        417.8,345.6 424.2,347.1 434.8,350.7 439.4,352.8 447.2,356.7 454.8,361.2 462.8,368.0
        473.4,378.8 478.6,385.8 481.9,391.2 486.6,400.8 490.5,411.2 493.0,419.2 495.1,437.2
        495.5,438.8 496.9,441.2 498.2,450.8 499.4,452.8 502.8,453.9 503.9,455.2 504.4,458.2
        503.6,461.8 505.9,466.8 507.4,472.8 508.2,479.8 509.5,483.2 510.8,484.6 512.8,485.4
        527.8,485.5 528.0,489.8 528.0,527.8
        """,
        edge=0.6,
    ),
    # Head and visible body; whiskers and the blur behind the muzzle left out.
    "chelsea": Outline(
        """
        100.0,-10.0 401.1,-8.2 401.1,0.0 395.4,9.3 387.1,19.6 380.9,27.8 378.5,39.1 375.2,46.4
        370.6,58.7 363.4,69.0 358.3,74.2 355.8,80.3 357.3,88.6 360.8,98.9 363.4,111.2 363.8,121.5
        362.4,133.9 362.0,148.3 359.3,159.7 353.1,175.1 345.9,189.5 337.7,199.8 330.5,208.1
        322.2,215.3 317.1,222.5 318.1,236.9 317.1,249.3 314.0,259.6 310.9,269.9 307.5,278.0
        309.0,286.0 311.0,300.0 311.0,320.0 -15.0,320.0 -15.0,130.0 0.0,126.3 11.5,119.6
        21.0,112.9 28.7,107.2 31.0,99.5 30.6,84.2 32.1,68.9 33.5,49.8 32.9,34.4 36.4,19.1 39.2,7.7
        40.6,0.0 40.9,-9.6
        """,
        edge=1.5,
    ),
    # Cup, saucer and spoon.
    "coffee": Outline(
        """
        259.2,332.8 233.2,333.0 226.8,332.1 221.2,331.9 207.2,329.8 189.8,325.8 173.8,321.0
        158.2,314.4 148.2,309.4 140.8,305.1 127.2,296.4 124.2,294.0 118.9,288.8 113.2,285.0
        100.0,271.8 88.8,257.1 80.9,244.2 77.3,235.8 73.7,228.2 70.6,217.8 68.1,206.8 66.6,197.2
        65.9,189.2 64.9,185.2 64.9,175.8 65.9,170.2 66.1,165.8 67.5,155.8 73.0,136.2 75.5,130.8
        85.2,114.2 90.2,107.2 97.5,98.2 110.6,85.2 125.9,73.8 135.8,67.6 141.8,65.3 146.2,62.2
        152.8,58.7 157.3,56.8 159.4,54.8 165.0,47.2 172.0,40.2 175.8,37.2 184.8,30.9 199.8,23.1
        207.2,20.3 221.2,16.7 232.2,15.1 251.8,15.0 258.2,15.6 269.8,17.7 282.2,21.0 293.3,25.2
        299.5,28.2 307.8,32.9 314.8,37.8 322.2,44.0 327.0,48.8 334.8,58.4 337.2,60.6 338.8,61.0
        340.2,60.6 343.9,58.2 346.2,57.3 350.8,57.0 352.8,57.2 355.2,58.1 359.5,61.2 360.8,62.8
        361.8,64.7 361.9,68.8 357.2,85.8 356.3,90.2 356.6,92.2 358.0,94.2 362.8,98.9 364.2,99.9
        368.7,101.8 372.2,105.1 382.2,117.2 391.1,131.2 397.0,143.2 400.2,151.8 404.2,164.8
        406.8,170.2 407.9,174.2 409.9,188.2 410.0,199.2 408.8,206.2 407.3,211.2 404.3,226.8
        400.5,238.2 397.8,244.8 388.8,260.7 381.8,270.2 376.5,276.2 366.2,286.5 356.2,294.8
        341.2,305.2 335.2,310.8 318.2,319.1 306.8,323.5 287.8,328.6 276.2,330.9 268.2,331.9
        262.8,332.1
        """,
        edge=0.6,
    ),
    # The rocket alone: neither the lattice that holds it nor the pad.
    "rocket": Outline(
        """
        258.1,101.6 261.3,103.5 264.0,106.8 265.7,110.0 266.8,113.6 267.1,118.6 267.1,141.9
        264.9,143.5 264.1,145.4 264.1,183.2 264.7,205.3 264.9,252.5 265.4,291.9 265.8,325.9
        249.9,325.9 250.6,291.9 250.9,252.5 251.3,205.3 252.0,183.2 252.0,145.4 251.2,143.5
        249.1,141.9 249.0,118.6 249.5,113.6 250.6,110.0 252.3,106.8 255.0,103.5
        """,
        edge=0.6,
    ),
}


def photograph(name: str) -> Image.Image:
    """Return a photograph of scikit-image, its longest side at most `LONGEST`."""
    picture = Image.fromarray(getattr(data, name)())
    ratio = min(1.0, LONGEST / max(picture.size))
    size = (round(picture.width * ratio), round(picture.height * ratio))
    return picture.resize(size, Image.Resampling.LANCZOS)


def mask_of(outline: Outline, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Fill an outline and soften its edge: 0 to 255, (height, width)."""
    width, height = size
    corners = [tuple(map(float, point.split(","))) for point in outline.points.split()]
    large = Image.new("L", (width * OVERSAMPLE, height * OVERSAMPLE))
    # Pillow counts from the centre of the first pixel, the outlines from its corner.
    scaled = [(x * OVERSAMPLE - 0.5, y * OVERSAMPLE - 0.5) for x, y in corners]
    ImageDraw.Draw(large).polygon(scaled, fill=255)
    cells = np.asarray(large, dtype=np.float64).reshape(height, OVERSAMPLE, width, OVERSAMPLE)
    soft = gaussian_filter(cells.mean(axis=(1, 3)), outline.edge, mode="nearest")
    return np.clip(soft.round(), 0, 255).astype(np.uint8)


def check(picture: Image.Image, mask: NDArray[np.uint8]) -> Image.Image:
    """Show the object on magenta and, to its right, the photograph with a green hole."""
    pixels = np.asarray(picture, dtype=np.float64)
    alpha = mask[..., None] / 255
    cut = pixels * alpha + np.array([255, 0, 255]) * (1 - alpha)
    hole = pixels * (1 - alpha) + np.array([0, 255, 0]) * alpha
    both = np.concatenate([cut, hole], axis=1).round().astype(np.uint8)
    return Image.fromarray(both).resize((4 * picture.width, 2 * picture.height))


def build(out: Path, checks: Path | None) -> None:
    """Write `out/<name>.jpg` and `out/<name>.mask.png`, and the pictures to check if asked."""
    for folder in filter(None, (out, checks)):
        folder.mkdir(parents=True, exist_ok=True)
    for name, outline in OUTLINES.items():
        picture = photograph(name)
        mask = mask_of(outline, picture.size)
        # Full colour resolution: halved, the cup's red would bleed over its edge.
        picture.save(out / f"{name}.jpg", quality=88, subsampling=0, optimize=True)
        Image.fromarray(mask).save(out / f"{name}.mask.png", optimize=True)
        if checks is not None:
            check(picture, mask).save(checks / f"{name}.png")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/photos"))
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="also write overlays here")
    arguments = parser.parse_args()
    build(arguments.out, arguments.check)


if __name__ == "__main__":
    main()
