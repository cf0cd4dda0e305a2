"""Writes the golden values of defensive distillation: objectives at a temperature, and learning
rates that change from step to step. With PyTorch in float64.

    python tests/golden/make_golden_defensive.py [--out DIR]

The rules of make_golden.py hold here too.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import folder, grid, rates, reduced, write_all

# --- objectives at a temperature ------------------------------------------------------


def at(student, teacher, labels, temperature: float, alpha: float) -> dict:
    """Labels at a temperature, and distillation without T^2."""
    z = student.clone().requires_grad_()
    q = F.softmax(teacher / temperature, dim=1)
    hard_at_t = F.cross_entropy(z / temperature, labels, reduction="none")
    soft = F.cross_entropy(z / temperature, q, reduction="none")
    hard = F.cross_entropy(z, labels, reduction="none")
    return {
        "temperature": temperature,
        "alpha": alpha,
        "labels": reduced(hard_at_t, z),
        "unscaled": reduced(alpha * soft + (1 - alpha) * hard, z),
    }


def case(rng: np.random.Generator, n: int, k: int) -> dict:
    student, teacher = grid(rng, n, k, scale=2.0), grid(rng, n, k, scale=4.0)
    labels = torch.from_numpy(rng.integers(0, k, n))
    cells = [(t, a) for t in (0.5, 10.0, 100.0) for a in (0.5, 1.0)]
    return {
        "student": student,
        "teacher": teacher,
        "labels": labels,
        "at": [at(student, teacher, labels, t, a) for t, a in cells],
    }


def temperature(rng: np.random.Generator) -> dict:
    return {"cases": [case(rng, n, k) for n, k in [(1, 2), (3, 10), (7, 3), (2, 11)]]}


TEMPERATURE = [
    "student, teacher: raw logits (N, K); labels (N,) in 0..K; mean and grad as in objectives.json",
    "labels: H(y, softmax(z / T)), no T^2; unscaled: alpha H(q, softmax(z / T)) + (1 - alpha) H(y, softmax(z)), "
    "q = softmax(teacher / T), no T^2",
]

# --- learning rates by step -------------------------------------------------------------


def one_cycle(n_steps: int, anneal: str, **settings) -> dict:
    def make(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=n_steps, anneal_strategy={"cosine": "cos"}.get(anneal, anneal),
            cycle_momentum=False, **settings,
        )

    full = {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4, **settings}
    return {"name": "one-cycle", "anneal": anneal, **full, "rates": rates(n_steps, make)}


def step_schedules(_: np.random.Generator) -> dict:
    n_epochs, n_steps = 4, 5
    n = n_epochs * n_steps
    decay = torch.optim.lr_scheduler.LambdaLR
    keras = [
        {"name": "keras-decay", "decay": d, "rates": rates(n, lambda o: decay(o, lambda i: 1.0 / (1.0 + d * i)))}
        for d in (1e-6, 0.1)
    ]
    cycles = [
        one_cycle(n, "cosine"),
        one_cycle(n, "linear"),
        one_cycle(n, "linear", pct_start=0.5, div_factor=10.0, final_div_factor=100.0),
        one_cycle(n, "cosine", pct_start=0.0),
        one_cycle(n, "cosine", pct_start=0.12),
    ]
    return {"n_epochs": n_epochs, "n_steps": n_steps, "learning_rate": 0.1, "cases": keras + cycles}


STEP_SCHEDULES = [
    "rates[i]: learning rate used in step i = 0..n_epochs*n_steps-1, n_steps an epoch, from b = learning_rate",
    "keras-decay: b / (1 + decay * i), as SGD(decay=...) of Keras 2; one-cycle: OneCycleLR with max_lr = b",
]


def main() -> None:
    files = [
        ("temperature", TEMPERATURE, temperature, 1e-6, 3e-6),
        ("step_schedules", STEP_SCHEDULES, step_schedules, 1e-12, 1e-9),
    ]
    write_all(folder(__doc__), files, Path(__file__).name)


if __name__ == "__main__":
    main()
