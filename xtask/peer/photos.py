"""kd's pixels beside torchvision's, with Pillow: the evaluation transform, and random crops of the same boxes.

    cargo build --release -p kd-data --example photos
    python xtask/peer/photos.py --example target/release/examples/photos --photos DIR

DIR has photographs: in class folders, or, like n01440764_tench.JPEG, in one folder and with the class before
the first underscore. kd (crates/kd-data/examples/photos.rs) writes what networks see of each and the boxes
of its random crops; torchvision decodes the same files with Pillow, resizes to 256 and cuts out the central
224 x 224, and takes resized_crop of the same boxes.

Prints for both transforms, in units of 255: the mean and the greatest difference over all pixels, the
greatest mean difference of a photograph, and the share of pixels that are equal. Fails unless every mean is
at most 0.5 and no pixel differs by more than 12. --json prints one object.

Needs torchvision, Pillow and numpy.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from torchvision.transforms import functional as F

from common import class_folders

RESIZE, CROP = 256, 224
MEAN, GREATEST = 0.5, 12


def center(image: Image.Image) -> np.ndarray:
    return np.asarray(CenterCrop(CROP)(Resize(RESIZE)(image)))


def crop(image: Image.Image, box: list[int], flip: bool) -> np.ndarray:
    part = F.resized_crop(image, *box, [CROP, CROP], InterpolationMode.BILINEAR)
    return np.asarray(F.hflip(part) if flip else part)


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Differences of arrays (N, CROP, CROP, 3)."""
    differences = np.abs(ours.astype(np.int16) - theirs)
    return {
        "mean": float(differences.mean()),
        "greatest": int(differences.max()),
        "worst_photograph": float(differences.mean((1, 2, 3)).max()),
        "equal": float((differences == 0).mean()),
    }


def run(example: Path, photos: Path) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        folder = class_folders(photos, Path(scratch) / "photos")
        command = [example, folder, scratch, str(RESIZE), str(CROP)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        read = lambda name: np.fromfile(Path(scratch) / name, np.uint8).reshape(-1, CROP, CROP, 3)  # noqa: E731
        theirs_center, theirs_crops = [], []
        for line in lines:
            name, *box, flip = line.rsplit(" ", 5)
            image = Image.open(folder / name).convert("RGB")
            theirs_center.append(center(image))
            theirs_crops.append(crop(image, [int(n) for n in box], flip == "1"))
        return {
            "photographs": len(lines),
            "center": compare(read("center.rgb"), np.stack(theirs_center)),
            "crops": compare(read("crops.rgb"), np.stack(theirs_crops)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", type=Path, required=True, help="the built example `photos`")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args()
    result = run(args.example.resolve(), args.photos.resolve())
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['photographs']} photographs, differences of 255:")
        for name in ("center", "crops"):
            text = "{name:<6} mean {mean:.3f}, greatest {greatest}, worst photograph {worst_photograph:.3f}, {equal:.1%} equal"
            print(text.format(name=name, **result[name]))
    ok = all(result[name]["worst_photograph"] <= MEAN and result[name]["greatest"] <= GREATEST for name in ("center", "crops"))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
