"""Rebuild `data/backgrounds`: three grey textures and views of photographed surroundings.

    python tools/build_backgrounds.py [node_modules]

Without a folder, the npm package is installed into a temporary one. The textures are those of
scikit-image, halved. A surrounding is an HDR panorama (equirectangular, 512×256); each is shown
once, as a camera with a field of view of 90° would see it, so straight lines stay straight and
the stretched poles are left out. The same sources give the same bytes.
"""

import argparse
import base64
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import OpenEXR
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data

Floats = NDArray[np.float64]

SIZE = 256
FIELD_OF_VIEW = 90.0  # degrees; wider stretches the corners, narrower blurs the small panoramas
PACKAGE, VERSION = "@pmndrs/assets", "1.7.0"
TEXTURES = ("brick", "grass", "gravel")

# scene -> yaw (from the panorama's centre, right is positive) and pitch of the camera in degrees.
# Chosen by eye: no sun or lamp in the middle of the picture, something to see all over.
VIEWS = {
    "apartment": (75, -10),
    "bridge": (-45, 0),
    "city": (150, -5),
    "dawn": (165, -12),
    "esplanade": (-30, -22),
    "forest": (150, -12),
    "hall": (-120, -22),
    "lab": (-30, -15),
    "lobby": (-30, -18),
    "night": (30, -5),
    "park": (-110, 0),
    "sky": (95, 25),
    "studio": (-40, 0),
    "sunrise": (-75, -8),
    "sunset": (-75, 0),
    "venice": (-100, 0),
    "warehouse": (-90, -5),
    "workshop": (-30, -15),
}

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB (Rec. 709)
MIDDLE_GREY = 0.18
WHITE = 4.0  # luminance that becomes white, with middle grey at 0.18
HALO = 7  # pixels; how far the panoramas' resampling darkened the surroundings of a lamp


def panorama(module: Path) -> Floats:
    """Decode the EXR file inside a JavaScript module to linear RGB, (H, W, 3)."""
    encoded = module.read_text().split("base64,", 1)[1].split("'", 1)[0]
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(encoded))
        file.flush()
        pixels = OpenEXR.File(file.name).channels()["RGB"].pixels
    return np.maximum(pixels.astype(np.float64), 0)  # resampling left a few negative values


def lines_of_sight(yaw: float, pitch: float) -> tuple[Floats, Floats]:
    """Return longitude and latitude in radians, (SIZE, SIZE) each, of a camera's pixels."""
    focal = 0.5 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    axis = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    right, up = np.meshgrid(axis, -axis)
    sine, cosine = np.sin(np.radians(pitch)), np.cos(np.radians(pitch))
    up, ahead = up * cosine + focal * sine, focal * cosine - up * sine
    return np.arctan2(right, ahead) + np.radians(yaw), np.arctan2(up, np.hypot(right, ahead))


def look(picture: Floats, yaw: float, pitch: float, *, order: int) -> Floats:
    """Resample a panorama (H, W, 3) with splines of an order to one view, (SIZE, SIZE, 3)."""
    height, width, _ = picture.shape
    longitude, latitude = lines_of_sight(yaw, pitch)
    rows = (0.5 - latitude / np.pi) * height - 0.5
    columns = ((longitude / (2 * np.pi) + 0.5) * width - 0.5) % width
    margin = 16  # the panorama goes on at its other side
    wide = np.pad(picture, ((0, 0), (margin, margin), (0, 0)), mode="wrap")
    channels = [
        ndimage.map_coordinates(wide[..., c], [rows, columns + margin], order=order, mode="nearest")
        for c in range(3)
    ]
    return np.stack(channels, axis=-1)


def tone_map(linear: Floats, exposure: float) -> Floats:
    """Map linear RGB to sRGB in 0…1: extended Reinhard on luminance, then the sRGB curve.

    L' = L (1 + L / WHITE²) / (1 + L), colours keep their ratios (Reinhard et al., *Photographic
    Tone Reproduction for Digital Images*, SIGGRAPH 2002, equation 4).
    """
    exposed = linear * exposure
    luminance = exposed @ LUMINANCE
    gain = (1 + luminance / WHITE**2) / (1 + luminance)
    display = np.clip(exposed * gain[..., None], 0, 1)
    return np.where(display <= 0.0031308, 12.92 * display, 1.055 * display ** (1 / 2.4) - 0.055)


def without_halos(picture: Floats) -> Floats:
    """Fill the dark rings that resampling left around burnt-out lamps, in sRGB (H, W, 3)."""
    burnt = picture.min(axis=-1) > 0.97
    near = ndimage.binary_dilation(burnt, iterations=HALO // 2)
    closed = ndimage.grey_closing(picture, size=(HALO, HALO, 1), mode="nearest")
    return np.where(near[..., None], closed, picture)


def scene(module: Path, yaw: float, pitch: float) -> Floats:
    """Return one view of a panorama in sRGB, its mean log luminance exposed to middle grey."""
    linear = panorama(module)
    seen = look(linear, yaw, pitch, order=0) @ LUMINANCE
    exposure = MIDDLE_GREY / np.exp(np.log(seen + 1e-4).mean())
    # Tone mapping first: splines through a sun of 10⁴ would ring over half the picture.
    return look(without_halos(tone_map(linear, exposure)), yaw, pitch, order=3)


def save(picture: Floats, path: Path) -> None:
    """Write sRGB in 0…1, (H, W, 3), as JPEG."""
    pixels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=88, optimize=True)


def build(modules: Path, out: Path) -> None:
    """Write `out/<name>.jpg` for every texture and scene."""
    out.mkdir(parents=True, exist_ok=True)
    for name in TEXTURES:
        grey = getattr(data, name)() / 255  # (512, 512)
        halved = grey.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
        save(np.repeat(halved[..., None], 3, axis=-1), out / f"{name}.jpg")
    for name, (yaw, pitch) in VIEWS.items():
        module = modules / PACKAGE / "hdri" / f"{name}.exr.js"
        save(scene(module, yaw, pitch), out / f"{name}.jpg")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", type=Path, nargs="?", help="a node_modules folder")
    parser.add_argument("--out", type=Path, default=Path("data/backgrounds"))
    arguments = parser.parse_args()
    if arguments.modules is not None:
        build(arguments.modules, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{PACKAGE}@{VERSION}"
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-save", "--prefix", folder, wanted],
            check=True,
        )
        build(Path(folder) / "node_modules", arguments.out)


if __name__ == "__main__":
    main()
