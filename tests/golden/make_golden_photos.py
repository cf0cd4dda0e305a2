"""Writes photos.json: JPEG files and what torchvision's transforms make of them, with Pillow.

    python tests/golden/make_golden_photos.py [--out DIR]

needs torchvision, Pillow (with libjpeg-turbo, as every wheel has) and numpy. The
Rust tests read the file and never change it. Content is hexadecimal: `jpeg` the
file; `center` the height x width x 3 bytes after Resize(24) and CenterCrop(20);
`crops` the same after resized_crop of each of `boxes` (top, left, height, width)
to 20 x 20.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import PIL
import torchvision
from PIL import Image, features
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from torchvision.transforms import functional as F

RESIZE, CROP = 24, 20


def picture(height: int, width: int, seed: int) -> Image.Image:
    """Colored waves, an edge and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5 + y / 9), np.cos(x * y / 150), np.sin(y / 4 - x / 7)], -1)
    waves[x > width * 0.6] *= -1
    pixels = (waves + rng.normal(0, 0.2, (height, width, 3))) * 100 + 128
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def entry(image: Image.Image, boxes: list, **options) -> dict:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    decoded = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    crop = lambda box: F.resized_crop(decoded, *box, [CROP, CROP], InterpolationMode.BILINEAR)  # noqa: E731
    return {
        "jpeg": buffer.getvalue().hex(),
        "center": CenterCrop(CROP)(Resize(RESIZE)(decoded)).tobytes().hex(),
        "boxes": boxes,
        "crops": [crop(box).tobytes().hex() for box in boxes],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out
    golden = {
        "header": {
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
            "tolerance": "mean difference at most 0.5 of 255, greatest at most 2",
        },
        "wide": entry(picture(60, 93, 1), [[5, 11, 40, 33], [0, 0, 60, 93], [31, 50, 9, 12]], quality=90),
        "high": entry(picture(101, 47, 2), [[60, 2, 30, 45], [1, 3, 21, 17]], quality=75, subsampling="4:4:4"),
        "small": entry(picture(17, 22, 3), [[3, 4, 10, 9]], quality=80, progressive=True),
        "gray": entry(picture(50, 50, 4).convert("L"), [[10, 10, 30, 25]], quality=85),
        "cmyk": entry(picture(48, 64, 5).convert("CMYK"), [[7, 20, 33, 40]], quality=85),
    }
    (out / "photos.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
