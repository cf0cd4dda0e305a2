"""Writes the golden values of what attacks make larger: functions of the logits, with their
gradients. With PyTorch in float64, as their authors' code computes them.

    python tests/golden/make_golden_attacks.py [--out DIR]

The rules of make_golden.py hold here too.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import SEED, grid, write

TEMPERATURES = [1.0, 40.0]


def picked(z: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return z.gather(1, classes[:, None])[:, 0]


def best_other(z: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The largest logit but that of `classes`; as Carlini and Wagner's (z - one_hot * 10000).max."""
    return (z - 10000.0 * F.one_hot(classes, z.shape[1])).max(dim=1).values


def dlr(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """AutoAttack's autopgd_base.py, dlr_loss."""
    z_sorted, order = z.sort(dim=1)
    ind = (order[:, -1] == y).double()
    u = torch.arange(z.shape[0])
    other = z_sorted[:, -2] * ind + z_sorted[:, -1] * (1.0 - ind)
    return -(z[u, y] - other) / (z_sorted[:, -1] - z_sorted[:, -3] + 1e-12)


def targeted_dlr(z: torch.Tensor, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """AutoAttack's autopgd_base.py, dlr_loss_targeted."""
    z_sorted, _ = z.sort(dim=1)
    u = torch.arange(z.shape[0])
    return -(z[u, y] - z[u, t]) / (z_sorted[:, -1] - 0.5 * (z_sorted[:, -3] + z_sorted[:, -4]) + 1e-12)


def value(logits: torch.Tensor, temperature: float, objective) -> dict:
    z = logits.clone().requires_grad_()
    per_example = objective(z / temperature)
    (grad,) = torch.autograd.grad(per_example.sum(), z)
    return {"values": per_example.detach(), "grad": grad}


def at(logits, labels, targets, temperature: float) -> dict:
    objectives = {
        "cross-entropy": (
            lambda z: F.cross_entropy(z, labels, reduction="none"),
            lambda z: -F.cross_entropy(z, targets, reduction="none"),
        ),
        "margin": (
            lambda z: best_other(z, labels) - picked(z, labels),
            lambda z: picked(z, targets) - best_other(z, targets),
        ),
        "dlr": (lambda z: dlr(z, labels), lambda z: targeted_dlr(z, labels, targets)),
    }
    body = {
        name: {"untargeted": value(logits, temperature, free), "targeted": value(logits, temperature, toward)}
        for name, (free, toward) in objectives.items()
    }
    return {"temperature": temperature, **body}


def case(rng: np.random.Generator, n: int, k: int) -> dict:
    # No two logits of a row are equal, where the order would be a matter of taste.
    logits = grid(rng, n, k, scale=3.0) + torch.arange(k) / 4096.0
    labels = torch.from_numpy(rng.integers(0, k, n))
    targets = (labels + torch.from_numpy(rng.integers(1, k, n))) % k
    cells = [at(logits, labels, targets, temperature) for temperature in TEMPERATURES]
    return {"logits": logits, "labels": labels, "targets": targets, "at": cells}


def attack_objectives(rng: np.random.Generator) -> dict:
    return {"cases": [case(rng, n, k) for n, k in [(6, 4), (8, 10)]]}


RULES = [
    "logits: raw (N, K); labels, targets (N,) in 0..K; values: per example, of logits / temperature; grad: of their sum "
    "with respect to the logits",
    "each is large where the attack succeeds: -log p_y, max_{i != y} z_i - z_y, and Croce and Hein's DLR; targeted: "
    "log p_t, z_t - max_{i != t} z_i, and their targeted DLR",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rng = np.random.default_rng([SEED, *b"attack_objectives"])
    body = attack_objectives(rng)
    write(out, "attack_objectives.json", RULES, {"atol": 1e-5, "rtol": 1e-5}, body, Path(__file__).name)


if __name__ == "__main__":
    main()
