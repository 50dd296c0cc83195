"""Rewrite `data/manifest.json`: the sha256 of every file that ships.

python tools/build_manifest.py
"""

import hashlib
import json
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"


def main() -> None:
    """Hash everything below `data/`, the manifest itself apart."""
    files = sorted(p for p in DATA.rglob("*") if p.is_file() and p.name != "manifest.json")
    hashes = {
        str(path.relative_to(DATA)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (DATA / "manifest.json").write_text(json.dumps(hashes, indent=1) + "\n")
    print(f"{len(hashes)} files, {sum(p.stat().st_size for p in files) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
