"""What `kd ship` made, beside PyTorch and onnxruntime.

    cargo build --release -p kd-ship --example latency
    python xtask/peer/shipped.py latency --example target/release/examples/latency OUT/model.onnx
    python xtask/peer/shipped.py tune OUT --seeds 3
    python xtask/peer/shipped.py agree --kd target/release/kd OUT

latency: milliseconds of one image of 32-bit floats, what half of the passes in the fastest fifth of 40 goes are below,
in kd, in PyTorch (the faster of contiguous and channels last, inference mode) and in onnxruntime; the three take turns,
the medians of the rounds are printed with kd's by PyTorch's.

tune: the teacher of a shipment, tuned in PyTorch from the same first weights (OUT/work/teacher.onnx) on the same
images with the same schedule (OUT/work/teacher.toml): the new head alone, then all but the batch norms, Adam, a
cosine by epochs, random crops and flips, the last epoch within a standard error of the best on a fifth of the training
images; prints the accuracy on `val` over seeds, and kd's from its records. What the frozen part makes of the images is
computed once.

agree: on how many images of `val` onnxruntime and kd say the same class of model.onnx and of model.int8.onnx, from the
very same pixels, and the two files in kd.

Needs torch, torchvision, pillow, onnx and onnxruntime.
"""

import argparse
import copy
import json
import math
import statistics
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2 as T

from onnx_net import OnnxNet

WARM, TIMED, GOES, COUNTED = 20, 25, 40, 8


def median_ms(run) -> float:
    def timed() -> float:
        begun = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - begun)

    for _ in range(WARM):
        run()
    goes = sorted(([timed() for _ in range(TIMED)] for _ in range(GOES)), key=statistics.median)
    return statistics.median(ms for go in goes[:COUNTED] for ms in go)


def torch_ms(path: Path, threads: int, image: np.ndarray) -> float:
    torch.set_num_threads(threads)
    net, times = OnnxNet(path).eval(), []
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            model = net.to(memory_format=layout)
            pixels = torch.from_numpy(image).to(memory_format=layout)
            times.append(median_ms(lambda: model(pixels)))
    return min(times)


def ort_ms(path: Path, threads: int, image: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: image}
    return median_ms(lambda: session.run(None, feed))


def latency(args: argparse.Namespace) -> None:
    session = onnxruntime.InferenceSession(str(args.model), providers=["CPUExecutionProvider"])
    image = np.full((1, *session.get_inputs()[0].shape[1:]), 0.5, np.float32)
    times = {(engine, n): [] for engine in ("kd", "torch", "onnxruntime") for n in (1, 2)}
    for _ in range(args.rounds):
        ours = json.loads(subprocess.run([args.example, args.model], check=True, stdout=subprocess.PIPE).stdout)
        for threads in (1, 2):
            times["kd", threads].append(ours[str(threads)]["p50"])
            times["torch", threads].append(torch_ms(args.model, threads, image))
            times["onnxruntime", threads].append(ort_ms(args.model, threads, image))
    for threads in (1, 2):
        own, torch_time, ort = (statistics.median(times[e, threads]) for e in ("kd", "torch", "onnxruntime"))
        print(
            f"{threads} threads, {args.rounds} rounds: kd {own:.2f} ms, torch {torch_time:.2f} ms, "
            f"onnxruntime {ort:.2f} ms; kd by torch {own / torch_time:.2f}, kd by onnxruntime {own / ort:.2f}"
        )


class Tuning:
    """One seed of a teacher's training."""

    def __init__(self, out: Path, suite: dict, seed: int):
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        data = suite["data"]
        self.net = OnnxNet(out / "work" / "teacher.onnx")
        center = [T.Resize(data["resize"]), T.CenterCrop(data["crop"])]
        crop = suite["augment"]["resized_crop"]
        random = [T.RandomResizedCrop(data["crop"], crop["scale"], crop["ratio"])]
        random += [T.RandomHorizontalFlip()] if suite["augment"]["flip"] else []
        tensor = [T.ToImage(), T.ToDtype(torch.float32, scale=True)]
        folder = Path(data["path"])
        self.plain = ImageFolder(folder / "train", T.Compose(center + tensor))
        self.random = ImageFolder(folder / "train", T.Compose(random + tensor))
        self.val = self.load(ImageFolder(folder / "val", T.Compose(center + tensor)), None)
        self.train, self.held_out = self.divide(suite["holdout"])
        self.chosen = self.load(self.plain, self.held_out)

    def divide(self, share: float) -> tuple[list[int], list[int]]:
        """Of each class such a share is held out."""
        train, held_out = [], []
        for label in range(len(self.plain.classes)):
            own = [i for i, target in enumerate(self.plain.targets) if target == label]
            own = [own[k] for k in torch.randperm(len(own), generator=self.generator)]
            n = round(share * len(own))
            held_out, train = held_out + own[:n], train + own[n:]
        return train, held_out

    @staticmethod
    def load(folder: ImageFolder, rows: list[int] | None) -> tuple[torch.Tensor, torch.Tensor]:
        items = [folder[i] for i in (range(len(folder)) if rows is None else rows)]
        return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])

    def learning(self, freeze: list[str]) -> list[torch.nn.Parameter]:
        """What learns where `!HEAD` or all batch norms are frozen, which then run in evaluation mode."""
        match freeze:
            case []:
                names = set(dict(self.net.named_parameters()))
            case ["op:batch-norm"]:
                names = set(dict(self.net.named_parameters())) - set(self.net.norms())
            case [pattern] if pattern.startswith("!"):
                names = set(self.net.named(pattern[1:] + "."))
            case _:
                raise ValueError(f"freeze: {freeze}")
        return [p for name, p in self.net.named_parameters() if name in names]

    @torch.no_grad()
    def judged(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Accuracy and negative log-likelihood."""
        self.net.eval()
        logits = torch.cat([self.net(part) for part in images.split(16)])
        nll = torch.nn.functional.cross_entropy(logits, labels)
        return (logits.argmax(1) == labels).double().mean().item(), nll.item()

    def run(self, plan: dict, freeze: list[str]) -> tuple[float, float]:
        """Trains what the patterns leave; how the last epoch near the best held-out one does on `val`."""
        chosen = self.learning(freeze)
        adam = torch.optim.Adam(chosen, lr=plan["learning_rate"])
        patterns = [pattern[1:] for pattern in freeze if pattern.startswith("!")]
        head = self.net.head(patterns[0] + ".") if patterns else None
        fixed = self.fixed(head) if head is not None else None
        model = (lambda x: self.net.from_features(x, head)) if fixed else self.net
        best, kept = 0.0, []
        for epoch in range(plan["n_epochs"]):
            rate = plan["learning_rate"] / 2 * (1 + math.cos(math.pi * epoch / max(plan["n_epochs"] - 1, 1)))
            adam.param_groups[0]["lr"] = rate
            self.net.train(not freeze)
            order = torch.randperm(len(self.train), generator=self.generator)
            for rows in order.split(plan["batch_size"]):
                if fixed is None:
                    images, labels = self.load(self.random, [self.train[i] for i in rows])
                else:
                    images, labels = fixed[0][rows], fixed[1][rows]
                adam.zero_grad()
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                adam.step()
            if (epoch + 1) % plan["eval_every"] == 0 or epoch + 1 == plan["n_epochs"]:
                kept.append((self.judged(*self.chosen)[0], copy.deepcopy(self.net.state_dict())))
                best = max(best, kept[-1][0])
        n = len(self.held_out)
        likely = (best * n + 2) / (n + 4)
        near = best - math.sqrt(likely * (1 - likely) / (n + 4))
        self.net.load_state_dict([weights for top1, weights in kept if top1 >= near][-1])
        return self.judged(*self.val)

    @torch.no_grad()
    def fixed(self, head: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What all before the head makes of the training images."""
        images, labels = self.load(self.plain, self.train)
        self.net.eval()
        return torch.cat([self.net.features(part, head) for part in images.split(16)]), labels


def ours(out: Path) -> dict[str, list[tuple[float, float]]]:
    """Accuracy and negative log-likelihood of kd on the same images, by training."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in (out / "work" / "teacher" / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "final":
            last = record["last"]
            found.setdefault(record["training"], []).append((last["top1"], last["nll"]))
    return found


def words(judged: list[tuple[float, float]]) -> str:
    def spread(values: list[float], digits: int) -> str:
        deviation = f" +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{deviation}"

    top1, nll = zip(*judged)
    return f"{spread([100 * t for t in top1], 2)} %, nll {spread(list(nll), 3)} (n = {len(judged)})"


def tune(args: argparse.Namespace) -> None:
    suite = tomllib.loads((args.out / "work" / "teacher.toml").read_text())
    theirs: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        tuning = Tuning(args.out, suite, seed)
        for training in suite["training"]:
            judged = tuning.run(training.get("plan", suite["plan"]), training["freeze"])
            theirs.setdefault(training["name"], []).append(judged)
            print(f"seed {seed}, {training['name']}: {100 * judged[0]:.2f} %, nll {judged[1]:.3f}", flush=True)
    for name, values in ours(args.out).items():
        print(f"{name}: kd {words(values)}, torch {words(theirs[name])}")


def written(args: argparse.Namespace, data: dict, folder: Path) -> tuple[list[Path], np.ndarray]:
    """The images of `val` and their pixels, as kd decodes them."""
    for part in ("train", "val"):
        (folder / part).symlink_to((Path(data["path"]) / "val").absolute())
    listing, pixels = folder / "views.jsonl", folder / "pixels"
    sizes = ["--resize", str(data["resize"]), "--crop", str(data["crop"])]
    views = [args.kd, "data", "views", "--data", f"photos:{folder}", "--augment", "none", *sizes]
    subprocess.run([*views, "--out", listing, "--pixels", pixels], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in listing.read_text().splitlines()[1:]]
    pictures = sorted(pixels.rglob("*.png"), key=lambda path: int(path.stem))
    arrays = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    values = np.stack(arrays).astype(np.float32).transpose(0, 3, 1, 2) / 255
    return [folder / "val" / line["file"] for line in lines], values


def by_ort(model: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.array([session.run(None, {name: image[None]})[0].argmax() for image in pixels])


def by_kd(kd: str, model: Path, files: list[Path]) -> np.ndarray:
    said = subprocess.run([kd, "predict", model, "--json", "--top", "1", *files], check=True, stdout=subprocess.PIPE)
    return np.array([json.loads(line)["classes"][0]["label"] for line in said.stdout.splitlines()])


def agree(args: argparse.Namespace) -> None:
    data = tomllib.loads((args.out / "work" / "teacher.toml").read_text())["data"]
    with tempfile.TemporaryDirectory() as folder:
        files, pixels = written(args, data, Path(folder))
        ours = {}
        for model in [args.out / name for name in ("model.onnx", "model.int8.onnx") if (args.out / name).exists()]:
            ours[model.name] = by_kd(args.kd, model, files)
            n_same = (by_ort(model, pixels) == ours[model.name]).sum()
            print(f"{model.name}: onnxruntime and kd say the same of {n_same} of {len(files)} images")
        if len(ours) == 2:
            n_same = (ours["model.onnx"] == ours["model.int8.onnx"]).sum()
            print(f"f32 and int8 in kd: the same of {n_same} of {len(files)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("latency")
    one.add_argument("model", type=Path, help="model.onnx of a shipment")
    one.add_argument("--example", type=Path, required=True, help="the built example `latency`")
    one.add_argument("--rounds", type=int, default=5)
    one.set_defaults(run=latency)
    other = commands.add_parser("tune")
    other.add_argument("out", type=Path, help="folder of a shipment")
    other.add_argument("--seeds", type=int, default=3)
    other.set_defaults(run=tune)
    last = commands.add_parser("agree")
    last.add_argument("out", type=Path, help="folder of a shipment")
    last.add_argument("--kd", required=True, help="the built program")
    last.set_defaults(run=agree)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
