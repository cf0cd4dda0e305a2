"""The PyTorch side of the speed bench: the same work as `kd`, as fast as PyTorch does it on a CPU.

    python xtask/peer/peer.py --case student30-step --steps 200 --threads 2 --json

Random images are in memory, optimizers are fused, what is not trained runs without
gradients; convolutional networks are channels_last. A step case times one training step
of 128 images on one of a few batches prepared before (so many that nothing is learnt by heart,
down to denormals), an eval case forwards of 2000 images, or 52 of 224 pixels; the epoch case times the preparation of the
batch too. Prints one object: case, median_ms, min_ms, samples (ms), peak_mb (most memory of the
process, 2^20 bytes), torch, threads, compile; the epoch case adds extrapolated_from, since it times
--steps steps of each model and not a whole epoch. Needs torch >= 2.4 (fused optimizers on CPU).

Cases of photographs time batches of 32 from torchvision's ImageFolder of --photos DIR through a DataLoader
with 0, 1 and 2 workers, after its first batches; each sample is the mean of a pass, and the samples are those
of the fastest (workers is added). They need torchvision, as mobilenet-v2-eval does; efficientnet-lite0-eval needs timm.
With --engine onnxruntime it evaluates the network as PyTorch exports it (needs onnx, onnxscript and onnxruntime).
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

import nets
from common import BATCH, Crops, adam, distillation, mlp
from methods import METHODS

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


class Mlps:
    """Random images and labels in memory, a teacher, and the training steps over them. PyTorch's products take as
    long for any pixels."""

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


def grid_epoch(bench: Mlps, n_steps: int) -> list[float]:
    """Sample i: an epoch of all ten students if every step took as long as their i-th."""
    students = [None, *GRID]
    timed = [clock(bench.train_student(30, cell, bench.batch), n_steps) for cell in students]
    return [STEPS_PER_EPOCH * sum(samples) for samples in zip(*timed)]


class Images:
    """Batches of photographs in class folders, as a DataLoader hands them over."""

    BATCH, MEAN, STD = 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, photos: Path, train: bool):
        from torchvision import transforms as T
        from torchvision.datasets import ImageFolder

        cut = [T.RandomResizedCrop(224), T.RandomHorizontalFlip()] if train else [T.Resize(256), T.CenterCrop(224)]
        self.images = ImageFolder(photos, T.Compose([*cut, T.ToTensor(), T.Normalize(self.MEAN, self.STD)]))
        self.per_pass = max(len(self.images) // self.BATCH, 1)

    def passes(self, n_passes: int, workers: int) -> list[float]:
        """Milliseconds of a batch, mean of each of n_passes passes after the warm-up."""
        n_warmup = 2 + 4 * workers  # batches that are made before they are asked for do not count
        n = n_warmup + n_passes * self.per_pass
        # One long epoch: workers are not started again, and have always something to do.
        sampler = RandomSampler(self.images, num_samples=n * self.BATCH)
        loader = DataLoader(self.images, batch_size=self.BATCH, sampler=sampler, num_workers=workers)
        times = [time.perf_counter() for _ in loader][n_warmup - 1 :: self.per_pass]
        return [(end - start) * 1e3 / self.per_pass for start, end in zip(times, times[1:])]

    def fastest(self, n_passes: int) -> tuple[list[float], int]:
        """The samples of the fastest number of workers, and that number."""
        timed = [(self.passes(n_passes, workers), workers) for workers in (0, 1, 2)]
        return min(timed, key=lambda samples: statistics.median(samples[0]))


class Cnn:
    """A convolutional network, and random batches of normalized images."""

    def __init__(self, compile_models: bool, model: nn.Module, shape: tuple, batch: int = BATCH):
        torch.manual_seed(0)
        model = model.to(memory_format=torch.channels_last)
        self.model, self.run = model, torch.compile(model) if compile_models else model
        images = [torch.randn(batch, *shape).contiguous(memory_format=torch.channels_last) for _ in range(4)]
        labels = [torch.randint(0, 10, (batch,)) for _ in images]
        batches = itertools.cycle(zip(images, labels))
        self.batch = lambda: next(batches)

    def train(self) -> Step:
        """A training step with SGD, momentum and weight decay."""
        self.model.train()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)

        def step():
            images, labels = self.batch()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.run(images), labels).backward()
            optimizer.step()

        return step

    def learn(self, teacher: nn.Module, objective, is_taught: bool) -> Step:
        """The same of an objective, with the forward pass of its teacher."""
        self.model.train()
        teacher.eval()
        own = [objective.theta] if hasattr(objective, "theta") else []
        parameters = [*self.model.parameters(), *own]
        optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)

        def step():
            images, labels = self.batch()
            with torch.inference_mode():
                said = teacher(images) if is_taught else None
            said = None if said is None else said.clone()
            optimizer.zero_grad(set_to_none=True)
            objective(self.run(images), said, labels).backward()
            optimizer.step()

        return step

    def evaluate(self) -> Step:
        """A forward pass over each of the four batches."""
        self.model.eval()

        @torch.inference_mode()
        def step():
            for _ in range(4):
                self.run(self.batch()[0])

        return step


def onnxruntime_evaluate(model: nn.Module, images: list, threads: int) -> Step:
    """A forward pass over each of the batches `images` by onnxruntime, of the network as PyTorch exports it."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model.eval(), (images[0],), path, input_names=["images"], verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batches = [batch.numpy() for batch in images]

    def step():
        for batch in batches:
            session.run(None, {"images": batch})

    return step


CIFAR, MNIST, LARGE = (3, 32, 32), (1, 28, 28), (3, 224, 224)

# Networks that evaluate four batches a sample, the shape of an image, and the images of a batch.
EVALUATIONS = {
    "resnet56-eval": (nets.resnet56, CIFAR, 500),
    "mobilenet-v2-eval": (nets.mobilenet_v2, LARGE, 13),
    "efficientnet-lite0-eval": (nets.efficientnet_lite0, LARGE, 13),
}


def evaluate(model: Callable[[], nn.Module], shape: tuple, batch: int):
    return lambda compiled, n: clock(Cnn(compiled, model(), shape, batch).evaluate(), n, n_warmup=2)


def evaluate_onnx(case: str, n_steps: int, threads: int) -> list[float]:
    model, shape, batch = EVALUATIONS[case]
    images = [torch.randn(batch, *shape) for _ in range(4)]
    return clock(onnxruntime_evaluate(model(), images, threads), n_steps, n_warmup=2)


def train(model: Callable[[], nn.Module], shape: tuple):
    return lambda compiled, n: clock(Cnn(compiled, model(), shape).train(), n, n_warmup=2)


def in_turn(objectives, compiled: bool, n_steps: int) -> list[float]:
    """Sample i: a step of each objective's ResNet-20 with its teacher's forward, one after another."""
    teacher = nets.resnet56().to(memory_format=torch.channels_last)
    teach = lambda objective, is_taught: Cnn(compiled, nets.resnet20(), CIFAR).learn(teacher, objective, is_taught)  # noqa: E731
    timed = [clock(teach(*method), n_steps, n_warmup=2) for method in objectives]
    return [sum(samples) for samples in zip(*timed)]


# Objectives, and whether they have a teacher.
CELLS = [
    (lambda logits, said, labels: F.cross_entropy(logits, labels), False),
    *[(lambda *batch, cell=cell: distillation(*batch, *cell), True) for cell in GRID],
]

def taught(student: Callable[[], nn.Module], teacher: Callable[[], nn.Module], shape: tuple, batch: int):
    """Steps with the paper's objective and the forward pass of a teacher."""
    objective = lambda *batch: distillation(*batch, 0.5, 5.0)  # noqa: E731
    made = lambda compiled: Cnn(compiled, student(), shape, batch)  # noqa: E731
    last = lambda: teacher().to(memory_format=torch.channels_last)  # noqa: E731
    return lambda compiled, n: clock(made(compiled).learn(last(), objective, True), n, n_warmup=2)


# Timed steps by default, and the work.
CASES = {
    "teacher-step": (100, lambda c, n: clock(Mlps(c).train_teacher(), n)),
    "student30-step": (100, lambda c, n: clock(Mlps(c).train_student(30, (0.5, 5.0)), n)),
    "student300-step": (100, lambda c, n: clock(Mlps(c).train_student(300, (0.5, 5.0)), n)),
    "grid30-epoch": (100, lambda c, n: grid_epoch(Mlps(c), n)),
    "resnet18-step": (4, train(nets.resnet18, CIFAR)),
    "resnet20-step": (20, train(nets.resnet20, CIFAR)),
    "grid-resnet20-step": (5, lambda c, n: in_turn(CELLS, c, n)),
    "methods-step": (5, lambda c, n: in_turn(METHODS, c, n)),
    "resnet18-distillation-step": (3, taught(nets.resnet18_large, nets.resnet50, LARGE, 32)),
    "papernot-mnist-step": (40, train(nets.papernot_mnist, MNIST)),
    "papernot-cifar10-step": (15, train(nets.papernot_cifar10, CIFAR)),
    "mobilenet-v2-cifar-step": (10, train(nets.mobilenet_v2_cifar, CIFAR)),
    **{case: (4, evaluate(*of)) for case, of in EVALUATIONS.items()},
}

# Passes by default, and whether crops are random. A pack holds the same photographs.
PHOTOS = {"photos-train": (5, True), "photos-eval": (5, False), "photos-packed": (5, True)}


def peak_mb() -> float | None:
    """The most memory that this process has had, where the system tells it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return float(kilobytes[0]) / 1024 if kilobytes else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, choices=[*CASES, *PHOTOS])
    parser.add_argument("--steps", type=int, help="timed steps (of each model)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks")
    parser.add_argument("--engine", choices=["torch", "onnxruntime"], default="torch", help="who evaluates")
    parser.add_argument("--photos", type=Path, help="class folders of photographs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line of text")
    args = parser.parse_args()
    if args.engine == "onnxruntime" and args.case not in EVALUATIONS:
        parser.error(f"onnxruntime evaluates only: {', '.join(EVALUATIONS)}")
    torch.set_num_threads(args.threads)

    extra = {}
    if args.case in PHOTOS:
        n_steps, train = PHOTOS[args.case]
        samples, extra["workers"] = Images(args.photos, train).fastest(args.steps or n_steps)
    else:
        n_steps, work = CASES[args.case]
        n_steps = args.steps or n_steps
        onnx = args.engine == "onnxruntime"
        samples = evaluate_onnx(args.case, n_steps, args.threads) if onnx else work(args.compile, n_steps)
    result = {
        "case": args.case,
        "median_ms": statistics.median(samples),
        "min_ms": min(samples),
        "samples": samples,
        "peak_mb": peak_mb(),
        "torch": torch.__version__,
        "threads": args.threads,
        "compile": args.compile,
        **extra,
    }
    if args.case.endswith("-epoch"):
        models = 1 + len(GRID)
        result["extrapolated_from"] = {"steps": n_steps, "models": models, "steps_per_epoch": STEPS_PER_EPOCH}
    text = "{case}: median {median_ms:.3f} ms, min {min_ms:.3f} ms (torch {torch}, {threads} threads)"
    print(json.dumps(result) if args.json else text.format(**result))


if __name__ == "__main__":
    main()
