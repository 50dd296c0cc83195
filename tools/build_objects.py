"""Rebuild `data/objects` from six independent emoji families, one cut-out per category.

    python tools/build_objects.py [node_modules]

Without a folder, the npm packages are installed into a temporary one. Each drawing is
rasterised large, cropped to its alpha box, scaled so that the longer side of the box is 128
pixels, and centred on a transparent 128×128 canvas. The same sources give the same bytes.
"""

import argparse
import io
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

SIZE = 128
OVERSAMPLE = 4
ALPHA_FLOOR = 8  # below this (of 255) a pixel does not count towards the alpha box

# family -> (npm package, version); `fluent` holds pictures, the others SVG bodies.
FAMILIES = {
    "noto": ("@iconify-json/noto", "1.2.9"),
    "twemoji": ("@iconify-json/twemoji", "1.2.5"),
    "emojione": ("@iconify-json/emojione", "1.2.3"),
    "fluent": ("@lobehub/fluent-emoji-3d", "1.1.0"),
    "noto-v1": ("@iconify-json/noto-v1", "1.2.5"),
    "fxemoji": ("@iconify-json/fxemoji", "1.2.2"),
}

# Things that all six families draw as one object which does not fill a square.
CATEGORIES = """
airplane ambulance anchor automobile balloon banana bell bicycle birthday-cake bomb bus cactus
camera cherries chipmunk christmas-tree crown deciduous-tree doughnut elephant fish
four-leaf-clover gem-stone ghost grapes guitar hamburger hammer helicopter high-heeled-shoe horse
hot-beverage key lady-beetle light-bulb lollipop maple-leaf microscope mushroom octopus palm-tree
pear penguin pineapple rabbit red-apple rocket rooster scissors skull snail snake soccer-ball
spider strawberry sunflower telephone television tractor trophy turtle two-hump-camel umbrella
watch watermelon whale wine-glass
""".split()  # noqa: SIM905

# FxEmojis has names of its own; animals are taken as whole bodies.
FXEMOJI_NAMES = {
    "gem-stone": "gem",
    "high-heeled-shoe": "heels",
    "rabbit": "bunnyside",
    "scissors": "blackscissors",
    "telephone": "blacktelephone",
    "two-hump-camel": "bactriancamel",
}


def svg_of(icons: dict[str, Any], name: str) -> str:
    """Return the SVG document of one icon of an Iconify set, aliases followed."""
    known = [*icons["icons"], *icons.get("aliases", {})]
    by_letters = {key.replace("-", ""): key for key in known}
    key = by_letters[name.replace("-", "")]
    key = icons.get("aliases", {}).get(key, {"parent": key})["parent"]
    icon = icons["icons"][key]
    box = [
        icon.get("left", 0),
        icon.get("top", 0),
        icon.get("width", icons.get("width", 16)),
        icon.get("height", icons.get("height", 16)),
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'
    )


def rasterise(svg: str) -> Image.Image:
    """Draw an SVG document at `OVERSAMPLE` times the final size."""
    side = SIZE * OVERSAMPLE
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def codepoints(modules: Path) -> dict[str, list[str]]:
    """Map icon names to the Unicode sequences that stand for them, as the sets declare them."""
    names: dict[str, list[str]] = {}
    for family in ("noto", "twemoji"):
        chars = json.loads((modules / FAMILIES[family][0] / "chars.json").read_text())
        for sequence, name in chars.items():
            names.setdefault(name, []).append(sequence)
    return names


def fluent_picture(folder: Path, sequences: list[str]) -> Image.Image:
    """Open the Fluent picture of the first known Unicode sequence."""
    for sequence in sequences:
        for spelling in (sequence, f"{sequence}-fe0f", sequence.removesuffix("-fe0f")):
            path = folder / f"{spelling}.webp"
            if path.exists():
                return Image.open(path).convert("RGBA")
    raise FileNotFoundError(f"no picture for any of {sequences} in {folder.name}")


def centred(image: Image.Image) -> Image.Image:
    """Crop to the alpha box and centre it, longer side 128, on a transparent square."""
    box = image.getchannel("A").point(lambda a: 255 * (a >= ALPHA_FLOOR)).getbbox()
    if box is None:
        raise ValueError("the drawing is empty")
    cut = image.crop(box)
    ratio = SIZE / max(cut.size)
    size = (max(1, round(cut.width * ratio)), max(1, round(cut.height * ratio)))
    # Pillow resizes RGBA unpremultiplied; "RGBa" keeps hidden colours from bleeding in.
    cut = cut.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    canvas = Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(cut, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    return canvas


def build(modules: Path, out: Path) -> None:
    """Write `out/<family>/<category>.webp` for every family and category."""
    sequences = codepoints(modules)
    for family, (package, _) in FAMILIES.items():
        folder = out / family
        folder.mkdir(parents=True, exist_ok=True)
        icons = None
        if family != "fluent":
            icons = json.loads((modules / package / "icons.json").read_text())
        for category in CATEGORIES:
            if icons is None:
                image = fluent_picture(modules / package / "assets", sequences[category])
            else:
                name = FXEMOJI_NAMES.get(category, category) if family == "fxemoji" else category
                image = rasterise(svg_of(icons, name))
            centred(image).save(folder / f"{category}.webp", quality=90, method=6)


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", type=Path, nargs="?", help="a node_modules folder")
    parser.add_argument("--out", type=Path, default=Path("data/objects"))
    arguments = parser.parse_args()
    if arguments.modules is not None:
        build(arguments.modules, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{package}@{version}" for package, version in FAMILIES.values()]
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-save", "--prefix", folder, *wanted],
            check=True,
        )
        build(Path(folder) / "node_modules", arguments.out)


if __name__ == "__main__":
    main()
