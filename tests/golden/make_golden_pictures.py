"""Writes pictures/ and pictures.json: small files of each format and what Pillow decodes them to.

    python tests/golden/make_golden_pictures.py [--out DIR]

needs Pillow (with libwebp and libtiff, as every wheel has) and numpy. The Rust
tests read the files and never change them. For each file: the mode that Pillow
opens it in, `size` (height, width) and `rgb`, the height x width x 3 bytes after
`Image.open(file).convert("RGB")`, as torchvision's ImageFolder loads it, in
hexadecimal. What Pillow cannot write is put together by hand.
"""

import argparse
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

WIDTH, HEIGHT = 13, 9


def waves(n_channels: int, seed: int = 0) -> np.ndarray:
    """Height x width x channels in [0, 1]: waves and noise, saturated in places."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [np.sin(x / 3 + y / 5 + channel) for channel in range(n_channels)]
    return np.clip(np.stack(planes, -1) * 0.6 + 0.5 + rng.normal(0, 0.1, (HEIGHT, WIDTH, n_channels)), 0, 1)


def image(mode: str) -> Image.Image:
    bytes_ = np.round(waves(max(len(mode), 1)) * 255).astype(np.uint8)
    return Image.fromarray(bytes_[..., 0] if mode == "L" else bytes_, mode)


def deep(n_channels: int) -> np.ndarray:
    """16 bits a sample; of the first row's values some are small, which Pillow does not clip."""
    samples = np.round(waves(n_channels) * 65535).astype(np.uint16)
    samples[0, :8] = np.array([0, 1, 127, 128, 254, 255, 256, 257])[:, None]
    samples[1, :6] = np.array([0x7F7F, 0x7F80, 0x8080, 0x80FF, 65534, 65535])[:, None]
    return samples


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth: int, color_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # noqa: E731
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    length = len(rows) // HEIGHT
    filtered = b"".join(b"\0" + rows[y * length : (y + 1) * length] for y in range(HEIGHT))
    content = chunk(b"IHDR", header) + (chunk(extra[:4], extra[4:]) if extra else b"")
    content += chunk(b"IDAT", zlib.compress(filtered, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def packed(n_bits: int) -> bytes:
    """Rows of gray samples of less than 8 bits."""
    samples = np.round(waves(1)[..., 0] * (2**n_bits - 1)).astype(np.uint8)
    bits = np.unpackbits(samples[..., None], axis=-1)[..., 8 - n_bits :]
    return np.packbits(bits.reshape(HEIGHT, -1), axis=-1).tobytes()


def pngs() -> dict[str, bytes]:
    big = lambda samples: samples.astype(">u2").tobytes()  # noqa: E731
    palette = image("RGB").quantize(20)
    seen_through = palette.copy()
    seen_through.info["transparency"] = 3
    return {
        "gray.png": saved(image("L"), "PNG"),
        "gray-alpha.png": saved(image("LA"), "PNG"),
        "rgb.png": saved(image("RGB"), "PNG"),
        "rgba.png": saved(image("RGBA"), "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette-transparent.png": saved(seen_through, "PNG", transparency=3),
        "palette-2.png": saved(image("RGB").quantize(4), "PNG"),
        "rgb-transparent.png": png(8, 2, image("RGB").tobytes(), b"tRNS" + bytes([0, 9, 0, 9, 0, 9])),
        "gray-1.png": png(1, 0, packed(1)),
        "gray-2.png": png(2, 0, packed(2)),
        "gray-4.png": png(4, 0, packed(4)),
        "gray-16.png": png(16, 0, big(deep(1))),
        "gray-16-transparent.png": png(16, 0, big(deep(1)), b"tRNS\0\1"),
        "gray-alpha-16.png": png(16, 4, big(deep(2))),
        "rgb-16.png": png(16, 2, big(deep(3))),
        "rgba-16.png": png(16, 6, big(deep(4))),
    }


def bmp(n_bits: int, rows: list[bytes], compression: int = 0, tables: bytes = b"", size: int = 0) -> bytes:
    """Rows from the bottom; `tables` are masks or a palette."""
    pixels = b"".join(row + bytes(-len(row) % 4 if compression != 1 else 0) for row in rows)
    n_colors = len(tables) // 4 if n_bits <= 8 else 0
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, n_bits, compression, len(pixels), 0, 0, n_colors, 0)
    start = 14 + len(header) + len(tables)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + tables + pixels


def bmps() -> dict[str, bytes]:
    rgb = np.asarray(image("RGB"))[::-1].astype(np.uint32)
    rows = lambda values: [row.astype("<u2").tobytes() for row in values]  # noqa: E731
    fifths = (rgb[..., 0] >> 3) << 10 | (rgb[..., 1] >> 3) << 5 | rgb[..., 2] >> 3
    sixths = (rgb[..., 0] >> 3) << 11 | (rgb[..., 1] >> 2) << 5 | rgb[..., 2] >> 3
    palette = image("RGB").quantize(16)
    nibbles = np.asarray(palette)[::-1]
    table = bytes(np.insert(np.array(palette.getpalette("RGB")[:48]).reshape(16, 3)[:, ::-1], 3, 0, axis=1).astype(np.uint8))
    pairs = np.pad(nibbles, ((0, 0), (0, WIDTH % 2)))
    runs = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in nibbles]
    runs[-1] = runs[-1][:-2] + b"\0\1"
    return {
        "rgb.bmp": saved(image("RGB"), "BMP"),
        "rgba.bmp": saved(image("RGBA"), "BMP"),
        "gray.bmp": saved(image("L"), "BMP"),
        "palette.bmp": saved(image("RGB").quantize(20), "BMP"),
        "bits.bmp": saved(image("L").convert("1"), "BMP"),
        "palette-4.bmp": bmp(4, [bytes(row[0::2] << 4 | row[1::2]) for row in pairs], 0, table),
        "runs.bmp": bmp(8, runs, 1, table),
        "555.bmp": bmp(16, rows(fifths)),
        "565.bmp": bmp(16, rows(sixths), 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
        "32.bmp": bmp(32, [row.tobytes() for row in np.asarray(image("RGBA"))[::-1]]),
    }


def gif(frame: list[int], screen: list[int], transparent: bool) -> bytes:
    """One frame `[left, top, width, height]` on a screen `[width, height]`."""
    whole = saved(image("L").crop([0, 0, *frame[2:]]).quantize(16), "GIF")
    table = 3 * 2 ** ((whole[10] & 7) + 1)
    start = whole.index(b",", 13 + table)
    control = bytes([0x21, 0xF9, 4, int(transparent), 0, 0, 5, 0])
    head = whole[:6] + struct.pack("<HH", *screen) + whole[10:13 + table]
    return head + control + b"," + struct.pack("<HHHH", *frame) + whole[start + 9 :]


def gifs() -> dict[str, bytes]:
    palette = image("RGB").quantize(32)
    frames = [image("RGB").rotate(90 * k).quantize(8) for k in range(3)]
    return {
        "palette.gif": saved(palette, "GIF"),
        "gray.gif": saved(image("L"), "GIF"),
        "transparent.gif": saved(palette, "GIF", transparency=3),
        "interlaced.gif": saved(palette, "GIF", interlace=1),
        "frames.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "part.gif": gif([2, 1, 8, 6], [WIDTH, HEIGHT], False),
        "part-transparent.gif": gif([2, 1, 8, 6], [WIDTH, HEIGHT], True),
    }


def webps() -> dict[str, bytes]:
    frames = [image("RGB").rotate(90 * k) for k in range(3)]
    return {
        "lossless.webp": saved(image("RGB"), "WEBP", lossless=True),
        "lossless-alpha.webp": saved(image("RGBA"), "WEBP", lossless=True, exact=True),
        "lossy.webp": saved(image("RGB"), "WEBP", quality=70),
        "lossy-alpha.webp": saved(image("RGBA"), "WEBP", quality=70),
        "frames.webp": saved(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:]),
    }


def tiffs() -> dict[str, bytes]:
    pixels = image("RGB")
    return {
        "rgb.tif": saved(pixels, "TIFF"),
        "rgb-lzw.tif": saved(pixels, "TIFF", compression="tiff_lzw"),
        "rgb-deflate.tiff": saved(pixels, "TIFF", compression="tiff_adobe_deflate"),
        "rgb-packbits.tif": saved(pixels, "TIFF", compression="packbits"),
        "rgba.tif": saved(image("RGBA"), "TIFF"),
        "gray.tif": saved(image("L"), "TIFF"),
        "gray-alpha.tif": saved(image("LA"), "TIFF"),
        "gray-16.tif": saved(Image.fromarray(deep(1)[..., 0]), "TIFF"),
        "gray-white-is-zero.tif": saved(image("L"), "TIFF", tiffinfo={262: 0}),
        "bits.tif": saved(image("L").convert("1"), "TIFF"),
        "bits-fax.tif": saved(image("L").convert("1"), "TIFF", compression="group4"),
        "cmyk.tif": saved(image("RGB").convert("CMYK"), "TIFF"),
        "cmyk-black.tif": saved(Image.fromarray(np.asarray(image("RGBA")), "CMYK"), "TIFF"),
        "palette.tif": saved(pixels.quantize(20), "TIFF"),
        "jpeg.tif": saved(pixels, "TIFF", compression="jpeg", quality=90),
    }


def pnms() -> dict[str, bytes]:
    def pnm(kind: int, maximum: int, n_channels: int) -> bytes:
        samples = deep(n_channels) if maximum == 65535 else np.round(waves(n_channels) * maximum).astype(np.uint16)
        head = f"P{kind}\n# a comment\n{WIDTH} {HEIGHT}\n{maximum}\n".encode()
        if kind < 4:
            return head + " ".join(map(str, samples.flatten())).encode() + b"\n"
        return head + samples.astype(">u2" if maximum > 255 else np.uint8).tobytes()

    bits = np.unpackbits(np.frombuffer(packed(1), np.uint8)).reshape(HEIGHT, -1)[:, :WIDTH]
    return {
        "rgb.ppm": saved(image("RGB"), "PPM"),
        "gray.pgm": saved(image("L"), "PPM"),
        "rgb-100.ppm": pnm(6, 100, 3),
        "gray-100.pgm": pnm(5, 100, 1),
        "gray-15-text.pgm": pnm(2, 15, 1),
        "rgb-text.ppm": pnm(3, 255, 3),
        "gray-16.pgm": pnm(5, 65535, 1),
        "gray-1000.pgm": pnm(5, 1000, 1),
        "rgb-16.ppm": pnm(6, 65535, 3),
        "rgb-1000.ppm": pnm(6, 1000, 3),
        "bits.ppm": f"P4\n{WIDTH} {HEIGHT}\n".encode() + packed(1),
        "bits-text.ppm": f"P1\n{WIDTH} {HEIGHT}\n".encode() + " ".join(map(str, bits.flatten())).encode() + b"\n",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out
    golden = {
        "header": {
            "pillow": PIL.__version__,
            "libwebp": features.version_module("webp"),
            "libtiff": features.version_codec("libtiff"),
            "tolerance": "none: the bytes are equal",
        }
    }
    (out / "pictures").mkdir(exist_ok=True)
    for name, content in (pngs() | bmps() | gifs() | webps() | tiffs() | pnms()).items():
        opened = Image.open(io.BytesIO(content))
        golden[name] = {
            "mode": opened.mode,
            "size": [opened.height, opened.width],
            "rgb": opened.convert("RGB").tobytes().hex(),
        }
        (out / "pictures" / name).write_bytes(content)
    (out / "pictures.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
