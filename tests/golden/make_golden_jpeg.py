"""Writes jpeg.json: JPEG files and what libjpeg-turbo decodes them to, through Pillow.

    python tests/golden/make_golden_jpeg.py [--out DIR]

needs Pillow (with libjpeg-turbo, as every wheel has) and numpy. The Rust tests
read the file and never change it. Content is hexadecimal: `jpeg` the file,
`rgb` the height x width x 3 bytes, row by row.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

WIDTH, HEIGHT = 37, 21


def picture() -> Image.Image:
    """Colored waves and noise: every frequency, saturated colors, odd sides."""
    rng = np.random.default_rng(20150309)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(x / 3 + y / 7), np.sin(x * y / 40), np.cos(y / 2 - x / 5)]
    noise = rng.normal(0, 0.3, (HEIGHT, WIDTH, 3))
    return Image.fromarray(
        np.clip((np.stack(waves, -1) + noise) * 120 + 128, 0, 255).astype(np.uint8)
    )


def entry(image: Image.Image, **options) -> dict:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    decoded = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    return {
        "size": [image.height, image.width],
        "jpeg": buffer.getvalue().hex(),
        "rgb": decoded.tobytes().hex(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out
    image = picture()
    golden = {
        "header": {
            "pillow": PIL.__version__,
            "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
            "tolerance": "none: the bytes are equal",
        },
        "color420": entry(image, quality=60, subsampling="4:2:0"),
        "color422": entry(image, quality=85, subsampling="4:2:2"),
        "color444": entry(image, quality=95, subsampling="4:4:4"),
        "progressive": entry(image, quality=75, subsampling="4:2:0", progressive=True),
        "gray": entry(image.convert("L"), quality=75),
        "progressive-gray": entry(image.convert("L"), quality=75, progressive=True),
        "cmyk": entry(image.convert("CMYK"), quality=85),
        "restart": entry(image, quality=75, subsampling="4:2:0", restart_marker_blocks=2),
    }
    (out / "jpeg.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
