"""Writes the golden values of attacks: what they make larger, functions of the logits with their
gradients, and where their steps lead on a small network. With PyTorch in float64.

    python tests/golden/make_golden_attacks.py [--out DIR]

The rules of make_golden.py hold here too.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import folder, grid, write_all

# --- objectives ---------------------------------------------------------------------

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


OBJECTIVES = [
    "logits: raw (N, K); labels, targets (N,) in 0..K; values: per example, of logits / temperature; grad: of their sum "
    "with respect to the logits",
    "each is large where the attack succeeds: -log p_y, max_{i != y} z_i - z_y, and Croce and Hein's DLR; targeted: "
    "log p_t, z_t - max_{i != t} z_i, and their targeted DLR",
]


# --- steps --------------------------------------------------------------------------

N_EXAMPLES, N_PIXELS, N_HIDDEN, N_CLASSES = 6, 24, 12, 4


def network(rng: np.random.Generator) -> list[dict]:
    sizes = [(N_PIXELS, N_HIDDEN), (N_HIDDEN, N_CLASSES)]
    return [{"weight": grid(rng, o, i, scale=0.5), "bias": grid(rng, o, scale=0.2)} for i, o in sizes]


def logits_of(layers: list[dict], x: torch.Tensor) -> torch.Tensor:
    first, last = layers
    return F.linear(F.relu(F.linear(x, first["weight"], first["bias"])), last["weight"], last["bias"])


def norm2(x: torch.Tensor) -> torch.Tensor:
    return x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def ascend(loss, clean: torch.Tensor, norm: str, eps: float, step: float, n_steps: int, decay: float | None):
    """Goodfellow's, Kurakin's, Madry's and (with decay) Dong's steps, from the image itself."""
    x, g = clean.clone(), torch.zeros_like(clean)
    for _ in range(n_steps):
        x.requires_grad_()
        (grad,) = torch.autograd.grad(loss(x).sum(), x)
        x = x.detach()
        g = grad if decay is None else decay * g + grad / grad.abs().sum(dim=1, keepdim=True)
        if norm == "linf":
            x = torch.minimum(torch.maximum(x + step * g.sign(), clean - eps), clean + eps)
        else:
            x = x + step * g / norm2(g)
            x = clean + (x - clean) * (eps / norm2(x - clean)).clamp(max=1.0)
        x = x.clamp(0.0, 1.0)
    return x


# kind and settings of each attack, as in a suite file, with what they mean in `ascend`.
ATTACKS = [
    ({"kind": "fgsm", "eps": 0.125}, ("linf", 0.125, 0.125, 1, None)),
    ({"kind": "fgsm", "norm": "l2", "eps": 0.75}, ("l2", 0.75, 0.75, 1, None)),
    ({"kind": "bim", "eps": 0.125, "step_size": 0.03125, "n_steps": 6}, ("linf", 0.125, 0.03125, 6, None)),
    ({"kind": "mi-fgsm", "eps": 0.25, "n_steps": 8}, ("linf", 0.25, 0.25 / 8, 8, 1.0)),
    ({"kind": "mi-fgsm", "eps": 0.5, "n_steps": 5, "decay": 0.5, "norm": "l2"}, ("l2", 0.5, 0.1, 5, 0.5)),
    (
        {"kind": "pgd", "norm": "l2", "eps": 0.5, "step_size": 0.125, "n_steps": 7, "random_start": False},
        ("l2", 0.5, 0.125, 7, None),
    ),
]


def attack_steps(rng: np.random.Generator) -> dict:
    layers = network(rng)
    images = torch.from_numpy(np.clip(rng.integers(-64, 320, (N_EXAMPLES, N_PIXELS)), 0, 256) / 256.0)
    labels = logits_of(layers, images).argmax(dim=1)
    targets = (labels + 1) % N_CLASSES
    losses = {
        "untargeted": lambda x: F.cross_entropy(logits_of(layers, x), labels, reduction="none"),
        "targeted": lambda x: -F.cross_entropy(logits_of(layers, x), targets, reduction="none"),
    }
    runs = [
        {"settings": settings, **{side: ascend(loss, images, *meaning) for side, loss in losses.items()}}
        for settings, meaning in ATTACKS
    ]
    return {"layers": layers, "images": images, "labels": labels, "targets": targets, "runs": runs}


STEPS = [
    "layers: weight (O, I) and bias (O) of a linear network with ReLU between its two layers; images (N, P) in [0, 1]",
    "settings: an attack as in a suite file; untargeted, targeted: the images it gives, away from the labels (the "
    "network's own predictions) and toward the targets, on the cross entropy",
]


def main() -> None:
    files = [
        ("attack_objectives", OBJECTIVES, attack_objectives, 1e-5, 1e-5),
        ("attack_steps", STEPS, attack_steps, 1e-5, 1e-5),
    ]
    write_all(folder(__doc__), files, Path(__file__).name)


if __name__ == "__main__":
    main()
