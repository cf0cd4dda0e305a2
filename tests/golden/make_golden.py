"""Writes the golden values of this folder, with PyTorch and NumPy in float64.

    python tests/golden/make_golden.py [--out DIR]

needs torch >= 2.0 and numpy, takes a few seconds, and is (with make_golden_attacks.py, make_golden_conv.py,
make_golden_defensive.py and make_golden_jpeg.py) the only writer of tests/golden/*.json: the Rust tests read
these files and never change them, and nothing here calls our Rust. The versions that wrote a file stand in its
`header` with the rules of its content, the closeness that f32 code owes in its
`tolerance` (|got - want| <= atol + rtol * |want|).

Inputs lie on a grid of 1/256, so they are exact in f32 as well as in f64. All
results are float64, printed with 12 significant digits. Tensors are nested
lists, row-major; N is examples, K classes; losses are in nats.
"""

import argparse
import itertools
import json
import math
import platform
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SEED = 20150309  # the day "Distilling the Knowledge in a Neural Network" appeared
ALPHAS = [0.0, 0.1, 0.5, 0.9, 1.0]
TEMPERATURES = [0.5, 1.0, 2.0, 5.0, 20.0]


def grid(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """Normal numbers rounded to multiples of 1/256."""
    return torch.from_numpy(np.round(rng.normal(0.0, scale, shape) * 256.0) / 256.0)


def plain(value):
    """Tensors to nested lists, floats to 12 significant digits, recursively."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        assert math.isfinite(value), "golden values are finite"
        return float(f"{value:.12g}") + 0.0  # no -0
    return value


def write(out: Path, name: str, rules: list[str], tolerance: dict, body: dict, by: str = "make_golden.py") -> None:
    """One file: header, tolerance, body; each innermost list on one line."""
    header = {
        "written_by": f"tests/golden/{by}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "dtype": "float64",
        "seed": SEED,
        "rules": rules,
    }
    text = json.dumps(plain({"header": header, "tolerance": tolerance, **body}), indent=1)
    text = re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)
    (out / name).write_text(text + "\n")
    print(f"{name}: {len(text) + 1} bytes")


def folder(doc: str) -> Path:
    """The folder to write into; one thread sums in one order."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    return out


def write_all(out: Path, files: list[tuple], by: str) -> None:
    """A file each of (name, rules, maker, atol, rtol); its inputs depend on its name alone."""
    for name, rules, make, atol, rtol in files:
        rng = np.random.default_rng([SEED, *name.encode()])
        write(out, f"{name}.json", rules, {"atol": atol, "rtol": rtol}, make(rng), by)


# --- objectives -------------------------------------------------------------------


def reduced(per_example: torch.Tensor, logits: torch.Tensor) -> dict:
    """Per-example losses, their batch mean, and its gradient with respect to the logits."""
    (grad,) = torch.autograd.grad(per_example.mean(), logits, retain_graph=True)
    return {"per_example": per_example.detach(), "mean": per_example.mean().item(), "grad": grad}


def numpy_cross_entropy(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """H(target, softmax(logits)) by hand, to check PyTorch against."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(target * log_probs).sum(axis=1)


def distillation(student, teacher, labels, alpha: float, temperature: float, divisor: int = 1) -> dict:
    """Equation 3; `divisor` divides the soft term (1, or K for `li2018`)."""
    z = student.clone().requires_grad_()
    q = F.softmax(teacher / temperature, dim=1)
    scale = temperature**2 / divisor
    soft = scale * F.cross_entropy(z / temperature, q, reduction="none")
    log_q, log_p = (F.log_softmax(x / temperature, dim=1) for x in (teacher, z))
    soft_kl = scale * F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=1)
    hard = F.cross_entropy(z, labels, reduction="none")

    by_hand = scale * numpy_cross_entropy(q.numpy(), student.numpy() / temperature)
    np.testing.assert_allclose(soft.detach().numpy(), by_hand, rtol=1e-12)
    kl_form = reduced(alpha * soft_kl + (1 - alpha) * hard, z)
    total = reduced(alpha * soft + (1 - alpha) * hard, z)
    torch.testing.assert_close(kl_form["grad"], total["grad"], rtol=1e-9, atol=1e-12)
    parts = {"soft": soft, "soft_kl": soft_kl, "hard": hard}
    means = {name: part.mean().item() for name, part in parts.items()}
    return {"alpha": alpha, "temperature": temperature, **means, **total}


def plain_losses(student, labels) -> dict:
    """Cross entropy and PyTorch's label smoothing."""
    z = student.clone().requires_grad_()
    smooth = F.cross_entropy(z, labels, reduction="none", label_smoothing=0.1)
    return {
        "cross_entropy": reduced(F.cross_entropy(z, labels, reduction="none"), z),
        "label_smoothing": {"eps": 0.1, **reduced(smooth, z)},
    }


def objective_case(rng: np.random.Generator, n: int, k: int) -> dict:
    student, teacher = grid(rng, n, k, scale=2.0), grid(rng, n, k, scale=4.0)
    labels = torch.from_numpy(rng.integers(0, k, n))
    batch = (student, teacher, labels)
    return {
        "name": f"n{n}-k{k}",
        "student": student,
        "teacher": teacher,
        "labels": labels,
        **plain_losses(student, labels),
        "distillation": [distillation(*batch, a, t) for a in ALPHAS for t in TEMPERATURES],
        "li2018": [distillation(*batch, a, t, k) for a in (0.5, 1.0) for t in (1.0, 5.0)],
    }


def extreme_case() -> dict:
    """Logits of +-1e4: right and wrong students, full ties, one class against the rest."""
    signs = [[1, -1, 0], [-1, 1, 0], [1, 1, 1], [-1, -1, 1], [0, 0, 0]]
    student = 1e4 * torch.tensor(signs, dtype=torch.float64)
    teacher = student[[0, 0, 1, 2, 3]]
    labels = torch.tensor([0, 0, 1, 2, 2])
    cells = [(a, t) for a in (0.0, 0.5, 1.0) for t in (0.01, 1.0, 1000.0)]
    return {
        "name": "extreme",
        "student": student,
        "teacher": teacher,
        "labels": labels,
        **plain_losses(student, labels),
        "distillation": [distillation(student, teacher, labels, a, t) for a, t in cells],
        "li2018": [],
    }


def objectives(rng: np.random.Generator) -> dict:
    shapes = [(1, 2), (1, 10), (3, 10), (7, 3), (2, 11)]
    return {"cases": [objective_case(rng, n, k) for n, k in shapes], "extreme": extreme_case()}


OBJECTIVES = [
    "student, teacher: raw logits (N, K); labels (N,) in 0..K",
    "mean: batch mean of per_example; grad: d mean / d student, (N, K)",
    "label_smoothing: PyTorch's: target (1 - eps) * onehot(y) + eps / K",
    "distillation: mean = alpha*soft + (1-alpha)*hard, soft = mean_i T^2 H(q_teacher, q_student) at T, "
    "hard = mean_i H(y, p_student) at 1, H(q, p) = -sum_k q_k ln p_k",
    "soft_kl = mean_i T^2 KL(q_teacher || q_student); alpha*soft_kl + (1-alpha)*hard has the same gradient",
    "li2018: the same with soft and soft_kl divided by K",
    "in distillation and li2018, atol counts max(1, T^2) times for losses and max(1, T) times for grad",
]

# --- a small network ---------------------------------------------------------------


def draw_layers(rng: np.random.Generator, sizes: list[int]) -> list[torch.nn.Linear]:
    layers = [torch.nn.Linear(i, o).double() for i, o in zip(sizes, sizes[1:])]
    for layer in layers:
        layer.weight.data = grid(rng, *layer.weight.shape, scale=0.7)
        layer.bias.data = grid(rng, *layer.bias.shape, scale=0.5)
    return layers


def well_posed(before: torch.Tensor) -> bool:
    """Every unit is on for one example and off for another, and none sits on ReLU's kink."""
    on = before > 0
    return bool(on.any(dim=0).all() and not on.all(dim=0).any() and before.abs().min() > 1e-3)


def mlp(rng: np.random.Generator) -> dict:
    """6-5-4-3 with ReLU after both hidden layers, in nn.Linear's layout; redrawn until well posed."""
    inputs, labels = grid(rng, 7, 6).requires_grad_(), torch.from_numpy(rng.integers(0, 3, 7))
    hidden = []
    while len(hidden) < 2:
        layers, hidden, x = draw_layers(rng, [6, 5, 4, 3]), [], inputs
        for layer in layers[:-1]:
            before = layer(x)
            x = F.relu(before)
            hidden += [x] if well_posed(before) else []
    logits = layers[-1](x)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return {
        "inputs": inputs.detach(),
        "labels": labels,
        "layers": [
            {"weight": w.detach(), "bias": b.detach(), "grad_weight": w.grad, "grad_bias": b.grad}
            for w, b in (layer.parameters() for layer in layers)
        ],
        "hidden": [h.detach() for h in hidden],
        "logits": logits.detach(),
        "loss": loss.item(),
        "grad_inputs": inputs.grad,
    }


MLP = [
    "layers: y = x W^T + b, weight (out, in), bias (out,); ReLU after layers 0 and 1; hidden: their outputs",
    "loss: cross entropy, batch mean; grad_*: its gradients",
]

# --- optimizers and schedules --------------------------------------------------------


def trajectory(make, initial, gradients, learning_rates) -> dict:
    """Parameters after each step of a torch.optim optimizer on given gradients."""
    parameter = torch.nn.Parameter(initial.clone())
    optimizer = make([parameter])
    after = []
    for gradient, learning_rate in zip(gradients, learning_rates):
        optimizer.param_groups[0]["lr"] = learning_rate
        parameter.grad = gradient.clone()
        optimizer.step()
        after.append(parameter.detach().clone())
    return {"after": torch.stack(after), "state": optimizer.state[parameter]}


def optimizers(rng: np.random.Generator) -> dict:
    initial, gradients = grid(rng, 5), grid(rng, 6, 5)
    gradients[:, 0], gradients[:, 1], gradients[2:4, 2] = 0.0, gradients[:, 1] * 64, 0.0
    fast, slow = [0.1, 0.1, 0.1, 0.01, 0.01, 0.05], [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2e-3]
    adam, sgd = [], []
    for decay in (0.0, 1e-2):
        settings = {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": decay}
        run = trajectory(lambda p: torch.optim.Adam(p, **settings), initial, gradients, slow)
        moments = {"exp_avg": run["state"]["exp_avg"], "exp_avg_sq": run["state"]["exp_avg_sq"]}
        name = "adam-weight-decay" if decay else "adam"
        adam.append({"name": name, **settings, "learning_rates": slow, "after": run["after"], **moments})
    kinds = [("sgd", 0.0, False), ("sgd-momentum", 0.9, False), ("sgd-nesterov", 0.9, True)]
    for (name, momentum, nesterov), decay in itertools.product(kinds, (0.0, 1e-4)):
        settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
        run = trajectory(lambda p: torch.optim.SGD(p, lr=0.1, **settings), initial, gradients, fast)
        name += "-weight-decay" if decay else ""
        sgd.append({"name": name, **settings, "learning_rates": fast, "after": run["after"]})
    return {"initial": initial, "gradients": gradients, "adam": adam, "sgd": sgd}


OPTIMIZERS = [
    "every case starts at initial (5,) and steps on gradients (6, 5); after (6, 5): parameters after each step",
    "learning_rates (6,): used by step i alone",
    "torch.optim semantics: weight_decay is L2, added to the gradient; the momentum buffer starts as the first "
    "gradient; dampening 0; Adam bias-corrected, eps added outside the root; exp_avg, exp_avg_sq: after step 6",
]


def rates(n: int, make) -> list[float]:
    """The learning rate used in each of n epochs (or steps) under a torch scheduler, from 0.1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, used = make(optimizer), []
    for _ in range(n):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return used


def cosine(n_warmup: int, n_epochs: int, base: float = 0.1) -> list[float]:
    """The formula of the rule below."""
    rise = [base * (e + 1) / n_warmup for e in range(n_warmup)]
    fall = range(n_warmup, n_epochs)
    span = max(1, n_epochs - 1 - n_warmup)
    return rise + [base / 2 * (1 + math.cos(math.pi * (e - n_warmup) / span)) for e in fall]


def schedules(_: np.random.Generator) -> dict:
    lr, n = torch.optim.lr_scheduler, 12
    np.testing.assert_allclose(cosine(0, n), rates(n, lambda o: lr.CosineAnnealingLR(o, n - 1)), atol=1e-15)
    cases = [
        {"name": "constant", "rates": rates(n, lambda o: lr.ConstantLR(o, factor=1.0))},
        {"name": "exponential", "gamma": 0.95, "rates": rates(n, lambda o: lr.ExponentialLR(o, 0.95))},
        {"name": "step", "step_size": 5, "gamma": 0.1, "rates": rates(n, lambda o: lr.StepLR(o, 5, 0.1))},
    ]
    for n_warmup in (0, 1, 3):
        cases.append({"name": f"cosine-warmup{n_warmup}", "n_warmup": n_warmup, "rates": cosine(n_warmup, n)})
    return {"n_epochs": n, "learning_rate": 0.1, "cases": cases}


SCHEDULES = [
    "rates[e]: learning rate used throughout epoch e = 0..n_epochs-1, from base learning_rate b",
    "constant: b; exponential: b * gamma^e; step: b * gamma^floor(e / step_size)",
    "cosine with linear warm-up over n = n_warmup epochs of E = n_epochs: b * (e+1)/n for e < n, then "
    "b/2 * (1 + cos(pi * (e-n) / max(1, E-1-n))): lr/n up to lr, lr again at epoch n, 0 at the last epoch",
]

# --- metrics and initialization ------------------------------------------------------


def rank(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the label: greater, or equal with a smaller index."""
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def calibration(probs: np.ndarray, labels: np.ndarray, n_bins: int = 15) -> dict:
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    scaled = confidence * n_bins
    assert np.abs(scaled - np.round(scaled))[confidence < 1.0].min() > 1e-3, "no confidence on a bin's edge"
    bins = np.ceil(scaled).astype(int) - 1
    counts, sums, hits = (np.bincount(bins, w, n_bins) for w in (None, confidence, correct))
    ece = float(np.abs(hits - sums).sum() / len(labels))
    per_bin = {"bin_counts": counts, "bin_correct": hits.astype(int), "bin_confidence_sums": sums}
    return {"n_bins": n_bins, "ece": ece, **per_bin}


def metrics(rng: np.random.Generator) -> dict:
    """Logits in steps of 1/2 (many ties); NumPy's argmax returns the first maximum."""
    n, k = 40, 6
    logits, other = (np.round(rng.normal(0.0, 1.5, (n, k)) * 2.0) / 2.0 for _ in range(2))
    labels = np.where(rng.random(n) < 0.5, logits.argmax(axis=1), rng.integers(0, k, n))
    other = np.where(rng.random((n, 1)) < 0.6, logits, other)
    logits[0], labels[0] = [-40, -40, 40, -40, -40, -40], 2
    logits[1], labels[1] = 0.5, 5
    logits[2], labels[2] = 0.5, 0
    ranks, probs = rank(logits, labels), F.softmax(torch.from_numpy(logits), dim=1).numpy()
    confusion = np.zeros((k, k), dtype=int)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    assert confusion.sum(axis=1).min() > 0, "every class has an example"
    assert ((logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum() > 2, "ties for the maximum"
    return {
        "logits": logits,
        "other_logits": other,
        "labels": labels,
        **{f"top{m}": float((ranks < m).mean()) for m in (1, 5)},
        "nll": F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item(),
        "predictions": logits.argmax(axis=1),
        "confusion": confusion,
        "per_class_accuracy": np.diag(confusion) / confusion.sum(axis=1),
        "agreement": float((logits.argmax(axis=1) == other.argmax(axis=1)).mean()),
        "calibration": calibration(probs, labels),
    }


METRICS = [
    "logits, other_logits (N, K), labels (N,); accuracies and agreement are fractions; nll: mean, nats",
    "argmax is the first maximum; top-m counts a label when fewer than m logits are strictly greater or equal "
    "with a smaller index",
    "confusion[true][predicted]: counts; agreement: share of equal argmax of logits and other_logits",
    "ece (Guo et al. 2017): confidence = probability of the argmax, 15 bins of equal width, bin b holds "
    "b/15 < confidence <= (b+1)/15; ece = sum_b |bin_correct - bin_confidence_sum| / N",
]


def init(_: np.random.Generator) -> dict:
    """Closed forms of nn.Linear's default initialization, and what torch draws."""
    torch.manual_seed(SEED)
    cases = []
    for fan_in in (30, 784, 1200):
        layer, bound = torch.nn.Linear(fan_in, 20_000), 1.0 / math.sqrt(fan_in)
        case = {"fan_in": fan_in, "bound": bound, "variance": bound**2 / 3.0}
        for part in ("weight", "bias"):
            draws = getattr(layer, part).detach().double()
            z = (draws.var().item() / case["variance"] - 1.0) / math.sqrt(0.8 / draws.numel())
            assert draws.abs().max() <= bound * (1 + 1e-6) and abs(z) < 5, "torch follows the closed form"
            moments = {"mean": draws.mean(), "variance": draws.var(), "max_abs": draws.abs().max()}
            case[f"torch_{part}"] = {"n": draws.numel(), **moments}
        cases.append(case)
    return {"cases": cases}


INIT = [
    "weight and bias of nn.Linear: kaiming_uniform(a=sqrt 5) = U(-bound, bound), bound = 1/sqrt(fan_in), "
    "variance = bound^2 / 3; torch_*: moments of a sample of n numbers drawn by torch, f32",
    "of n draws the mean has standard deviation sqrt(variance/n), the sample variance variance*sqrt(0.8/n): "
    "ask for at most z of these",
]


def main() -> None:
    out = folder(__doc__)
    files = [
        ("objectives", OBJECTIVES, objectives, 1e-6, 3e-6),
        ("mlp", MLP, mlp, 1e-6, 5e-6),
        ("optimizers", OPTIMIZERS, optimizers, 1e-6, 1e-6),
        ("schedules", SCHEDULES, schedules, 1e-12, 1e-9),
        ("metrics", METRICS, metrics, 1e-6, 1e-6),
    ]
    write_all(out, files, "make_golden.py")
    write(out, "init.json", INIT, {"z": 5.0, "atol": 1e-9, "rtol": 1e-6}, init(np.random.default_rng(SEED)))


if __name__ == "__main__":
    main()
