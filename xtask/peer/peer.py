"""The PyTorch side of the speed bench: the same work as `kd`, as fast as PyTorch does it on a CPU.

    python xtask/peer/peer.py --case student30-step --steps 200 --threads 2 --json

Batches of 128 random 28x28 images are in memory, optimizers are fused, the teacher
runs without gradients. A step case times one training step on one of 16 batches
prepared before (so many that nothing is learnt by heart, down to denormals); the epoch case times the preparation of the batch too. Prints one object:
case, median_ms, min_ms, samples (ms), torch, threads, compile; the epoch case adds
extrapolated_from, since it times --steps steps of each model and not a whole epoch.
Needs torch >= 2.4 (Adam fused on CPU).
"""

import argparse
import itertools
import json
import statistics
import time
from typing import Callable

import torch
import torch.nn.functional as F

from common import BATCH, Crops, adam, distillation, mlp

N_IMAGES = 60_000
STEPS_PER_EPOCH = 469  # ceil(60000 / 128)
GRID = [(alpha, temperature) for alpha in (0.1, 0.5, 0.9) for temperature in (1.0, 5.0, 10.0)]
Step = Callable[[], None]


def clock(step: Step, n_steps: int, n_warmup: int = 10) -> list[float]:
    """Milliseconds of each of n_steps steps, after the warm-up."""
    samples = []
    for i in range(n_warmup + n_steps):
        start = time.perf_counter()
        step()
        if i >= n_warmup:
            samples.append((time.perf_counter() - start) * 1e3)
    return samples


class Bench:
    """Random images and labels in memory, a teacher, and the training steps over them."""

    def __init__(self, compile_models: bool):
        torch.manual_seed(0)
        self.prepare = torch.compile if compile_models else (lambda model: model)
        self.crops = Crops(torch.randint(0, 256, (N_IMAGES, 28, 28), dtype=torch.uint8))
        self.labels = torch.randint(0, 10, (N_IMAGES,))
        self.teacher = self.prepare(mlp(1200).eval())
        prepared = itertools.cycle([self.batch() for _ in range(16)])
        self.prepared = lambda: next(prepared)

    def batch(self):
        indices = torch.randint(0, N_IMAGES, (BATCH,))
        return self.crops.batch(indices), self.labels[indices]

    def train_teacher(self) -> Step:
        model = mlp(1200, dropout=0.5).train()
        return self.step(model, self.prepared, lambda images, logits, labels: F.cross_entropy(logits, labels))

    def train_student(self, hidden: int, cell: tuple | None, batch=None) -> Step:
        """Distillation at cell = (alpha, temperature), or plain training where it is None."""

        def loss(images, logits, labels):
            if cell is None:
                return F.cross_entropy(logits, labels)
            with torch.no_grad():
                teacher_logits = self.teacher(images)
            return distillation(logits, teacher_logits, labels, *cell)

        return self.step(mlp(hidden), batch or self.prepared, loss)

    def step(self, model, batch, loss) -> Step:
        run, optimizer = self.prepare(model), adam(model)

        def step():
            images, labels = batch()
            optimizer.zero_grad(set_to_none=True)
            loss(images, run(images), labels).backward()
            optimizer.step()

        return step


def grid_epoch(bench: Bench, n_steps: int) -> list[float]:
    """Sample i: an epoch of all ten students if every step took as long as their i-th."""
    students = [None, *GRID]
    timed = [clock(bench.train_student(30, cell, bench.batch), n_steps) for cell in students]
    return [STEPS_PER_EPOCH * sum(samples) for samples in zip(*timed)]


CASES = {
    "teacher-step": lambda bench, n: clock(bench.train_teacher(), n),
    "student30-step": lambda bench, n: clock(bench.train_student(30, (0.5, 5.0)), n),
    "student300-step": lambda bench, n: clock(bench.train_student(300, (0.5, 5.0)), n),
    "grid30-epoch": grid_epoch,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, choices=CASES)
    parser.add_argument("--steps", type=int, default=100, help="timed steps (of each model)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line of text")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    samples = CASES[args.case](Bench(args.compile), args.steps)
    result = {
        "case": args.case,
        "median_ms": statistics.median(samples),
        "min_ms": min(samples),
        "samples": samples,
        "torch": torch.__version__,
        "threads": args.threads,
        "compile": args.compile,
    }
    if args.case.endswith("-epoch"):
        models = 1 + len(GRID)
        result["extrapolated_from"] = {"steps": args.steps, "models": models, "steps_per_epoch": STEPS_PER_EPOCH}
    text = "{case}: median {median_ms:.3f} ms, min {min_ms:.3f} ms (torch {torch}, {threads} threads)"
    print(json.dumps(result) if args.json else text.format(**result))


if __name__ == "__main__":
    main()
