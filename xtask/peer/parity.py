"""The paper's MNIST protocol in plain PyTorch, to compare accuracies with ours over seeds.

    python xtask/peer/parity.py --data-dir data --epochs 15 --seeds 3 --cells 0.5:5,0.1:1,0.9:10

Teacher 784-1200-1200-10 with dropout 0.5; students 784-30-30-10: a baseline on
labels, and one for each cell alpha:temperature of equation 3, distilled from the
teacher of their seed as it is after its last epoch. All train for --epochs epochs on
random 28x28 crops out of images padded by 2, batch 128, Adam 0.001 x 0.95 per epoch,
PyTorch's default initialization. The students of a seed see the same batches.

Prints one JSON object a line for each model and seed: model, alpha, temperature, seed,
epochs, last and best (test accuracy of the last and of the best epoch, fractions),
accuracies (per epoch), seconds (of the pass that trained it), torch, threads.
"""

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import BATCH, Crops, adam, distillation, mlp, normalize

Cell = tuple[float, float]  # alpha, temperature


def read_idx(folder: Path, name: str) -> Tensor:
    """One IDX file of bytes, raw or .gz, from folder, folder/mnist or folder/MNIST/raw."""
    for path in (f / (name + end) for f in (folder, folder / "mnist", folder / "MNIST/raw") for end in ("", ".gz")):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            n_dims = data[3]
            shape = np.frombuffer(data, ">u4", n_dims, offset=4)
            pixels = np.frombuffer(data, np.uint8, offset=4 + 4 * n_dims)
            return torch.from_numpy(pixels.reshape(shape.tolist()).copy())
    sys.exit(f"{name}[.gz] not found in {folder}, {folder}/mnist or {folder}/MNIST/raw")


class Data:
    """MNIST in memory: croppable training images, normalized test images."""

    def __init__(self, folder: Path, limit: int | None):
        images = read_idx(folder, "train-images-idx3-ubyte")[:limit]
        self.labels = read_idx(folder, "train-labels-idx1-ubyte")[:limit].long()
        self.crops = Crops(images)
        self.test_images = normalize(read_idx(folder, "t10k-images-idx3-ubyte").flatten(1))
        self.test_labels = read_idx(folder, "t10k-labels-idx1-ubyte").long()

    def epoch(self):
        """Batches of cropped images and labels in a new order; the last one may be short."""
        for indices in torch.randperm(len(self.labels)).split(BATCH):
            yield self.crops.batch(indices), self.labels[indices]

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        model.eval()
        hits = model(self.test_images).argmax(dim=1) == self.test_labels
        model.train()
        return hits.double().mean().item()


def train(data: Data, models: list[nn.Module], cells: list[Cell | None], teacher: nn.Module | None, n_epochs: int):
    """Trains the models on the same batches, with one teacher forward; test accuracies [model][epoch]."""
    optimizers = [adam(model) for model in models]
    schedules = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95) for optimizer in optimizers]
    accuracies = [[] for _ in models]
    for epoch in range(n_epochs):
        for images, labels in data.epoch():
            with torch.no_grad():
                soft = teacher(images) if teacher else None
            for model, cell, optimizer in zip(models, cells, optimizers):
                logits = model(images)
                loss = distillation(logits, soft, labels, *cell) if cell else F.cross_entropy(logits, labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        for model, schedule, reached in zip(models, schedules, accuracies):
            schedule.step()
            reached.append(data.accuracy(model))
        row = " ".join(f"{reached[-1]:.4f}" for reached in accuracies)
        print(f"epoch {epoch + 1}/{n_epochs}: {row}", file=sys.stderr, flush=True)
    return accuracies


def report(model: str, cell: Cell | None, seed: int, accuracies: list[float], seconds: float) -> None:
    alpha, temperature = cell or (None, None)
    row = {
        "model": model,
        "alpha": alpha,
        "temperature": temperature,
        "seed": seed,
        "epochs": len(accuracies),
        "last": accuracies[-1],
        "best": max(accuracies),
        "accuracies": accuracies,
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(row), flush=True)


def run_seed(data: Data, seed: int, cells: list[Cell], n_epochs: int) -> None:
    """Teacher first, then the baseline and all cells in one pass."""
    torch.manual_seed(seed)
    start, teacher = time.perf_counter(), mlp(1200, dropout=0.5)
    (reached,) = train(data, [teacher], [None], None, n_epochs)
    report("teacher", None, seed, reached, time.perf_counter() - start)

    start, students = time.perf_counter(), [None, *cells]
    models = [mlp(30) for _ in students]
    all_reached = train(data, models, students, teacher.eval(), n_epochs)
    for cell, reached in zip(students, all_reached):
        report("student30", cell, seed, reached, time.perf_counter() - start)


def parse_cells(text: str) -> list[Cell]:
    return [(float(a), float(t)) for a, t in (cell.split(":") for cell in text.split(","))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="where MNIST's IDX files are, raw or .gz")
    parser.add_argument("--cells", type=parse_cells, default="0.5:5,0.1:1,0.9:10", help="alpha:temperature,...")
    parser.add_argument("--epochs", type=int, default=65)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... below this number")
    parser.add_argument("--limit", type=int, help="train on the first LIMIT images only")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = Data(args.data_dir, args.limit)
    for seed in range(args.seeds):
        run_seed(data, seed, args.cells, args.epochs)


if __name__ == "__main__":
    main()
