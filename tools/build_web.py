"""Rebuild `data/web/`: the runtime of pages that hold a network, from npm.

npm pack onnxruntime-web@1.22.0
python tools/build_web.py onnxruntime-web-1.22.0.tgz
python tools/build_manifest.py
"""

import gzip
import hashlib
import sys
import tarfile
from pathlib import Path

OUT = Path(__file__).parent.parent / "data" / "web"
WASM = "ort-wasm-simd-threaded"
SHA256 = "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea"


def main() -> None:
    """Take three files out of the package; the licence is kept by hand."""
    content = Path(sys.argv[1]).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{sys.argv[1]} is not onnxruntime-web 1.22.0")
    with tarfile.open(sys.argv[1]) as package:
        for name in ("ort.wasm.min.mjs", f"{WASM}.mjs", f"{WASM}.wasm"):
            file = package.extractfile(f"package/dist/{name}")
            assert file
            content = file.read()
            if name.endswith(".wasm"):
                name, content = f"{name}.gz", gzip.compress(content, 9, mtime=0)
            (OUT / name).write_bytes(content)


if __name__ == "__main__":
    main()
