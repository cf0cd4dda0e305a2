"""Writes imagenet/: every source of validation labels, for a small made-up ILSVRC.

    python tests/golden/make_golden_imagenet.py [--out DIR]

needs scipy and numpy. The Rust tests read the files and never change them.
Five classes of three images, whose ILSVRC2012_IDs are not in the order of their
WordNet ids, and two ancestors. `labels.json` has the label of each image and
the values in `kinds.mat`, which has arrays of every kind.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import scipy
from scipy.io import loadmat, savemat

# id, WordNet id, words, gloss, children, height, training images; as in the development kit.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", "small grey fox", [], 0, 1300),
    (2, "n01440764", "tench, Tinca tinca", "freshwater dace-like fish", [], 0, 1300),
    (3, "n07920052", "espresso", "strong black coffee, as in a café", [], 0, 1187),
    (4, "n02100735", "English setter", "an English breed", [], 0, 1300),
    (5, "n15075141", "toilet tissue, bathroom tissue", "a soft thin absorbent paper", [], 0, 1300),
    (6, "n00001740", "entity", "that which is perceived to have its own existence", [7, 3, 5], 19, 0),
    (7, "n00015388", "animal, creature", "a living organism", [1, 2, 4], 18, 0),
]
FIELDS = [
    "ILSVRC2012_ID", "WNID", "words", "gloss",
    "num_children", "children", "wordnet_height", "num_train_images",
]  # fmt: skip
# The id of the class of images 1 to 15.
TRUTH = [4, 1, 2, 2, 5, 3, 1, 5, 4, 3, 3, 2, 1, 4, 5]


def rows(number) -> list[tuple]:
    """The values of all fields, numbers as arrays that `number` makes."""
    return [
        (
            number(id), wnid, words, gloss, number(len(children)),
            np.atleast_2d(number(children)) if children else np.zeros((0, 0)),
            number(height), number(images),
        )
        for id, wnid, words, gloss, children, height, images in SYNSETS
    ]  # fmt: skip


def struct_array(shape: tuple[int, int], number) -> np.ndarray:
    array = np.empty(shape, dtype=[(field, object) for field in FIELDS])
    for i, row in enumerate(rows(number)):
        array.flat[i] = row
    return array


def cells(values: list) -> np.ndarray:
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = values
    return array


def columns() -> dict:
    """One struct, whose fields are columns of all synsets' values."""
    table = dict(zip(FIELDS, zip(*rows(np.float64))))
    for field in FIELDS:
        is_number = np.ndim(table[field][0]) == 0 and not isinstance(table[field][0], str)
        column = np.array(table[field]).reshape(-1, 1) if is_number else cells(list(table[field]))
        table[field] = column
    return table


def swap(data: bytes, width: int) -> bytes:
    return b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))


WIDTH = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}


def big_endian_elements(data: bytes) -> bytes:
    out, at = b"", 0
    while at < len(data):
        word, size = struct.unpack_from("<II", data, at)
        if word >> 16:
            kind, size = word & 0xFFFF, word >> 16
            body = data[at + 4 : at + 8]
            whole = -(-size // WIDTH[kind]) * WIDTH[kind]
            out += struct.pack(">I", word) + swap(body[:whole], WIDTH[kind]) + body[whole:]
            at += 8
            continue
        body = data[at + 8 : at + 8 + size]
        body = big_endian_elements(body) if word == 14 else swap(body, WIDTH[word])
        out += struct.pack(">II", word, size) + body + b"\0" * (-size % 8)
        at += 8 + size + -size % 8
    return out


def big_endian(data: bytes) -> bytes:
    """The uncompressed little-endian MAT-file in the other byte order."""
    return data[:116] + data[116:124][::-1] + data[124:126][::-1] + b"MI" + big_endian_elements(data[128:])


def save(path: Path, variables: dict, compress: bool) -> None:
    savemat(path, variables, do_compression=compress, oned_as="row", long_field_names=True)
    # The header has the date, which would make each run differ.
    data = path.read_bytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file, made up".ljust(116) + data[116:])


def write_mats(out: Path) -> None:
    n = len(SYNSETS)
    save(out / "column.mat", {"synsets": struct_array((n, 1), np.float64)}, compress=True)
    other = {"before": np.arange(6.0).reshape(2, 3)}
    row = struct_array((1, n), lambda value: np.array(value, dtype=np.uint16))
    save(out / "row-plain.mat", other | {"synsets": row}, compress=False)
    save(out / "columns.mat", {"synsets": columns()}, compress=True)
    (out / "row-big-endian.mat").write_bytes(big_endian((out / "row-plain.mat").read_bytes()))
    a, b = (loadmat(out / name)["synsets"] for name in ["row-plain.mat", "row-big-endian.mat"])
    for field in FIELDS:
        assert all(np.array_equal(x, y) for x, y in zip(a[field].flat, b[field].flat)), field


NUMBERS = {
    "int8": [-128, 127], "uint8": [0, 255], "int16": [-32768, 5], "uint16": [65535, 1],
    "int32": [-(2**31), 7], "uint32": [2**32 - 1, 0], "int64": [-(2**40), 3],
    "uint64": [2**40, 3], "float32": [0.5, -1.25], "float64": [0.1, -1e300],
}  # fmt: skip
TEXTS = ["", "a", "abc", "abcde", "café", "日本", "\U0001f98a fox"]


def write_kinds(out: Path) -> None:
    numbers = {kind: np.array(values, dtype=kind) for kind, values in NUMBERS.items()}
    texts = np.empty((1, len(TEXTS)), dtype=object)
    texts[0, :] = TEXTS
    nested = {"a": {"b": cells([1.0, "x"])}}
    save(out / "kinds.mat", {"kinds": numbers | {"texts": texts, "nested": nested}}, compress=True)


def write_texts(out: Path) -> list[str]:
    wnids = {synset[0]: synset[1] for synset in SYNSETS}
    labels = [wnids[id] for id in TRUTH]
    images = [f"ILSVRC2012_val_{i:08}" for i in range(1, len(TRUTH) + 1)]
    (out / "ground_truth.txt").write_text("".join(f"{id}\n" for id in TRUTH))
    (out / "synset_labels.txt").write_text("".join(f"{wnid}\n" for wnid in labels))
    order = np.random.default_rng(2012).permutation(len(labels))
    boxes = [" ".join([f"{labels[i]} 85 1 {i} 272"] * (1 + i % 3)) for i in order]
    csv = [f"{images[i]},{box} \n" for i, box in zip(order, boxes)]
    (out / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(csv))
    script = [f"mkdir -p {wnid}\t\n" for wnid in sorted(set(labels))]
    script += [f"mv {image}.JPEG {wnid}/\t\n" for image, wnid in zip(images, labels)]
    (out / "valprep.sh").write_text("".join(script).rstrip())
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out / "imagenet"
    out.mkdir(parents=True, exist_ok=True)
    write_mats(out)
    write_kinds(out)
    golden = {
        "header": {
            "scipy": scipy.__version__,
            "numpy": np.__version__,
            "tolerance": "none: the values are equal",
        },
        "labels": write_texts(out),
        "numbers": NUMBERS,
        "texts": TEXTS,
    }
    (out / "labels.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
