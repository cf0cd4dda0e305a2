"""kd's attacks beside public implementations: the same weights, images and settings, in turns.

    python xtask/peer/attacks.py --kd target/release/kd --weights model.safetensors --data-dir data

The weights are those of a `papernot-mnist` that learnt from pixels in [0, 1] (mean 0, deviation 1), as a
run's checkpoint or `kd export` holds them; the images are MNIST's first test images. FGSM, PGD and APGD
(torchattacks 3.5) have L-infinity radius 0.1; Carlini and Wagner's L2 attack with 9 searches of 1000 steps
is compared with foolbox 3.3's, which runs with the same budget and with 3 searches of 200 steps.

Robust: percent of the images that the network classifies correctly before and after the attack. Mean L2: of
the images on which it succeeded. Seconds: of the attack alone, without start, reading and judging; PyTorch
has had a warm-up, and runs channels_last (the faster layout) unless --contiguous is given. With several
rounds, who begins changes and seeds are 0, 1, ... (torchattacks' APGD always has its own); accuracies and
distances are means, seconds and ratios medians.

--json prints one object a line for each comparison: attack, peer, images, correct (count before the attack),
kd_robust and peer_robust (percent), points (their difference), kd_l2 and peer_l2 (null without success),
kd_seconds, peer_seconds, ratio (kd's time by the peer's), torch, threads, contiguous, rounds (of all rounds).

Needs torch, numpy, safetensors, torchattacks and, for `cw`, foolbox.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor, nn

import nets
from parity import read_idx

EPS, BATCH = 0.1, 100
Attack = Callable[[Tensor, Tensor], Tensor]


def torchattacks(name: str, **settings) -> Callable[[nn.Module], Attack]:
    return lambda model: getattr(needed("torchattacks"), name)(model, **settings)


def carlini_wagner(n_searches: int, n_steps: int) -> Callable[[nn.Module], Attack]:
    """Foolbox's, which answers with a black image where it finds nothing: here, with the image as it was."""

    def prepare(model: nn.Module) -> Attack:
        foolbox = needed("foolbox")
        attack = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=n_searches, steps=n_steps)
        victim = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")

        def run(images: Tensor, labels: Tensor) -> Tensor:
            adversarial, _, _ = attack(victim, images, labels, epsilons=None)
            found = adversarial.flatten(1).any(dim=1)
            return torch.where(found[:, None, None, None], adversarial, images)

        return run

    return prepare


# kd's settings, and the peers that they are compared with.
CASES = {
    "fgsm": ({"eps": EPS}, {"torchattacks": torchattacks("FGSM", eps=EPS)}),
    "pgd": (
        {"eps": EPS, "step_size": 0.01, "n_steps": 40},
        {"torchattacks": torchattacks("PGD", eps=EPS, alpha=0.01, steps=40, random_start=True)},
    ),
    "apgd": ({"eps": EPS, "n_steps": 100}, {"torchattacks": torchattacks("APGD", eps=EPS, steps=100)}),
    "cw": (
        {"n_searches": 9, "n_steps": 1000},
        {"foolbox 9x1000": carlini_wagner(9, 1000), "foolbox 3x200": carlini_wagner(3, 200)},
    ),
}


@dataclass
class Outcome:
    """What one implementation reached in one round."""

    total: int
    correct: int
    robust: int
    l2: float | None
    seconds: float


class Peer:
    """The network in PyTorch, and the images."""

    def __init__(self, args: argparse.Namespace):
        layout = torch.contiguous_format if args.contiguous else torch.channels_last
        model = load(args.weights).eval().requires_grad_(False)
        self.model = model.to(memory_format=layout)
        pixels = read_idx(args.data_dir, "t10k-images-idx3-ubyte")[: args.n]
        self.images = pixels[:, None].float().div(255).contiguous(memory_format=layout)
        self.labels = read_idx(args.data_dir, "t10k-labels-idx1-ubyte")[: args.n].long()

    def run(self, prepare: Callable[[nn.Module], Attack], n: int, seed: int) -> Outcome:
        attack, images, labels = prepare(self.model), self.images[:n], self.labels[:n]
        self.warm_up()
        torch.manual_seed(seed)
        start = time.perf_counter()
        batches = zip(images.split(BATCH), labels.split(BATCH))
        adversarial = torch.cat([attack(*batch) for batch in batches]).detach()
        seconds = time.perf_counter() - start
        before, after = self.is_correct(images), self.is_correct(adversarial)
        lengths = (adversarial - images).flatten(1).norm(dim=1)[before & ~after]
        l2 = lengths.mean().item() if len(lengths) else None
        return Outcome(n, int(before.sum()), int((before & after).sum()), l2, seconds)

    def warm_up(self) -> None:
        images = self.images[:BATCH].clone().requires_grad_()
        self.model(images).sum().backward()

    @torch.no_grad()
    def is_correct(self, images: Tensor) -> Tensor:
        logits = torch.cat([self.model(batch) for batch in images.split(BATCH)])
        return logits.argmax(dim=1) == self.labels[: len(images)]


def needed(package: str):
    try:
        return import_module(package)
    except ImportError as error:
        sys.exit(f"{package} cannot be imported ({error}): pip install {package}")


def load(path: Path) -> nn.Sequential:
    """Papernot's network for MNIST with kd's weights, conv1 ... conv4 and fc1 ... fc3."""
    safetensors, files = needed("safetensors"), needed("safetensors.torch")
    model = nets.papernot_mnist()
    names = [*(f"conv{i}" for i in range(1, 5)), *(f"fc{i}" for i in range(1, 4))]
    layers = [layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]
    try:
        tensors = files.load_file(path)
        for name, layer in zip(names, layers):
            layer.load_state_dict({kind: tensors[f"{name}.{kind}"] for kind in ("weight", "bias")})
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        sys.exit(f"{path}: no safetensors file of a papernot-mnist: {error}")
    return model


def run_kd(args: argparse.Namespace, name: str, settings: dict, n: int, seed: int) -> Outcome:
    """What `kd attack` says of itself."""
    command = [args.kd, "attack", "--model", "papernot-mnist", "--weights", args.weights, "--data-dir", args.data_dir]
    command += ["--mean", "0", "--std", "1", "--n", n, "--seed", seed, "--threads", args.threads, "--json"]
    command += ["--attack", name, *(word for key in settings for word in ("--set", f"{key}={settings[key]}"))]
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"kd attack: {error}")
    (attack,) = json.loads(done.stdout)["attacks"]
    l2 = attack["mean_distance"] if attack["norm"] == "l2" else None
    return Outcome(attack["total"], attack["correct"], attack["robust"], l2, attack["seconds"])


def compare(args: argparse.Namespace, peer: Peer, name: str) -> list[dict]:
    """Everybody's outcomes of all rounds, and one row for each peer."""
    settings, peers = CASES[name]
    n = min(len(peer.labels), args.cw_n if name == "cw" else args.n)
    outcomes = {side: [] for side in ("kd", *peers)}
    for seed in range(args.rounds):
        for side in list(outcomes) if seed % 2 == 0 else reversed(list(outcomes)):
            print(f"{name}: round {seed + 1} of {args.rounds}, {side}", file=sys.stderr, flush=True)
            run = run_kd(args, name, settings, n, seed) if side == "kd" else peer.run(peers[side], n, seed)
            outcomes[side].append(run)
    return [row(args, name, side, outcomes["kd"], outcomes[side]) for side in peers]


def row(args: argparse.Namespace, name: str, side: str, kd: list[Outcome], peer: list[Outcome]) -> dict:
    if abs(kd[0].correct - peer[0].correct) > 1 or kd[0].total != peer[0].total:
        sys.exit(f"not the same network on the same images: kd {kd[0]}, PyTorch {peer[0]}")
    kd_robust, peer_robust = robust(kd), robust(peer)
    kd_l2, peer_l2 = (mean_l2(kd), mean_l2(peer)) if name == "cw" else (None, None)
    return {
        "attack": name,
        "peer": side,
        "images": kd[0].total,
        "correct": kd[0].correct,
        "kd_robust": kd_robust,
        "peer_robust": peer_robust,
        "points": kd_robust - peer_robust,
        "kd_l2": kd_l2,
        "peer_l2": peer_l2,
        "kd_seconds": statistics.median(one.seconds for one in kd),
        "peer_seconds": statistics.median(one.seconds for one in peer),
        "ratio": statistics.median(ours.seconds / theirs.seconds for ours, theirs in zip(kd, peer)),
        "torch": torch.__version__,
        "threads": args.threads,
        "contiguous": args.contiguous,
        "rounds": {"kd": [asdict(one) for one in kd], "peer": [asdict(one) for one in peer]},
    }


def robust(runs: list[Outcome]) -> float:
    return statistics.mean(100 * one.robust / one.total for one in runs)


def mean_l2(runs: list[Outcome]) -> float | None:
    lengths = [one.l2 for one in runs if one.l2 is not None]
    return statistics.mean(lengths) if lengths else None


HEAD = f"{'attack':6} {'peer':14} {'images':>6} {'robust, kd':>10} {'peer':>7} {'points':>7}"
HEAD += f" {'mean L2, kd':>11} {'peer':>7} {'seconds, kd':>11} {'peer':>8} {'kd/peer':>8}"


def text(row: dict) -> str:
    length = lambda value: "-" if value is None else f"{value:.4f}"  # noqa: E731
    return (
        f"{row['attack']:6} {row['peer']:14} {row['images']:6} {row['kd_robust']:10.2f} {row['peer_robust']:7.2f}"
        f" {row['points']:+7.2f} {length(row['kd_l2']):>11} {length(row['peer_l2']):>7}"
        f" {row['kd_seconds']:11.2f} {row['peer_seconds']:8.2f} {row['ratio']:8.3f}"
    )


def parse_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: none of {', '.join(CASES)}")
    return names


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kd", type=Path, required=True, help="the program, built with --release")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file of a papernot-mnist")
    parser.add_argument("--data-dir", type=Path, required=True, help="where MNIST's IDX files are, raw or .gz")
    parser.add_argument("--n", type=positive, default=1000, help="number of images, the first of the test set")
    parser.add_argument("--cw-n", type=positive, default=100, help="the same for cw")
    parser.add_argument("--rounds", type=positive, default=1)
    parser.add_argument("--only", type=parse_names, default=list(CASES), help="of fgsm,pgd,apgd,cw")
    parser.add_argument("--contiguous", action="store_true", help="PyTorch in its default memory layout")
    parser.add_argument("--threads", type=positive, default=torch.get_num_threads(), help="of both sides")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for package in ["torchattacks"] * (args.only != ["cw"]) + ["foolbox"] * ("cw" in args.only):
        needed(package)

    peer = Peer(args)
    if not args.json:
        print(HEAD)
    for name in args.only:
        for one in compare(args, peer, name):
            print(json.dumps(one) if args.json else text(one), flush=True)


if __name__ == "__main__":
    main()
