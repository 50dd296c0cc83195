"""Copy the photographs of `data/caltech/` from Caltech-101, as they are.

python tools/build_caltech.py FOLDER

Of each category the first three whose number is a multiple of five, which no network was trained
on; without persons, and without characters and banknotes, which others may have rights in.
"""

import shutil
import sys
from pathlib import Path

from recipes.caltech import files

OUT = Path(__file__).parent.parent / "data" / "caltech"
EACH = 3
WITHOUT = {
    "Faces", "dollar_bill", "garfield", "snoopy", "wheelchair", "accordion/image_0005",
    "bass/image_0010", "bass/image_0015", "saxophone/image_0010", "strawberry/image_0005",
}  # fmt: skip


def main(root: Path) -> None:
    """Copy them."""
    taken: dict[str, int] = {}
    for path, _ in files(root, test=True):
        category, name = path.parent.name, f"{path.parent.name}/{path.stem}"
        taken[category] = taken.get(category, 0) + 1
        if taken[category] <= EACH and not {category, name} & WITHOUT:
            (OUT / category).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, OUT / category / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
