"""Writes imagenet/: text sources of validation labels, for a small made-up ILSVRC.

    python tests/golden/make_golden_imagenet.py [--out DIR]

needs numpy. The Rust tests read the files and never change them. Five classes of three images;
`labels.json` has the label of each image.
"""

import argparse
import json
from pathlib import Path

import numpy as np

WNIDS = ["n02119789", "n01440764", "n07920052", "n02100735", "n15075141"]
# The class of images 1 to 15, counted from 1.
TRUTH = [4, 1, 2, 2, 5, 3, 1, 5, 4, 3, 3, 2, 1, 4, 5]


def write_texts(out: Path) -> list[str]:
    labels = [WNIDS[id - 1] for id in TRUTH]
    images = [f"ILSVRC2012_val_{i:08}" for i in range(1, len(TRUTH) + 1)]
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
    golden = {"header": {"numpy": np.__version__, "tolerance": "none: the values are equal"}, "labels": write_texts(out)}
    (out / "labels.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
