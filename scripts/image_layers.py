"""Print the size of an image by layer: `image_layers.py INSPECTED.json LAYERS.json`, as buildah writes them."""

import json
import sys
from pathlib import Path
from typing import Any


def main(inspected: Path, stored: Path) -> None:
    """A line for each layer, with what made it, and the sum."""
    image = json.loads(inspected.read_text())["OCIv1"]
    sizes = {layer["diff-digest"]: layer["diff-size"] for layer in json.loads(stored.read_text())}
    made: list[dict[str, Any]] = [step for step in image["history"] if not step.get("empty_layer")]
    layers = [sizes[digest] for digest in image["rootfs"]["diff_ids"]]
    for step, size in zip(made, layers, strict=True):
        what = " ".join(step.get("created_by", "the base").removeprefix("/bin/sh -c ").split())
        sys.stdout.write(f"{size / 1e6:8.1f} MB  {what[:100]}\n")
    sys.stdout.write(f"{sum(layers) / 1e6:8.1f} MB  in all\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
