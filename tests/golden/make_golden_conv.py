"""Writes the golden values of convolutional networks and their operations, with PyTorch in float64.

    python tests/golden/make_golden_conv.py [--out DIR]

The rules of make_golden.py hold here too. A tensor is {"shape": [...], "values": [...]}, row-major,
images and feature maps in PyTorch's order (N, C, H, W), with 9 significant digits,
and inputs lie on a grid of 1/4.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import folder, write_all

import networks


def grid(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """Normal numbers rounded to multiples of 1/4, so that sums of products are exact and short."""
    return torch.from_numpy(np.round(rng.normal(0.0, scale, shape) * 4.0) / 4.0)


def flat(tensor: torch.Tensor) -> dict:
    values = [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]
    return {"shape": list(tensor.shape), "values": values}


def flats(tensors: dict) -> dict:
    return {name: None if tensor is None else flat(tensor) for name, tensor in tensors.items()}


def gradients(y: torch.Tensor, grad_y: torch.Tensor, inputs: dict) -> dict:
    """Gradients of sum(grad_y * y) with respect to the inputs that are there."""
    there = {name: tensor for name, tensor in inputs.items() if tensor is not None}
    grads = dict(zip(there, torch.autograd.grad(y, there.values(), grad_y)))
    return {f"grad_{name}": grads.get(name) for name in inputs}


def leaf(rng: np.random.Generator, *shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return (grid(rng, *shape, scale=scale) + shift).requires_grad_()


# --- convolution ----------------------------------------------------------------------

# name: (N, C, H, W), (O, kh, kw), stride, padding, groups, bias
CONVOLUTIONS = {
    "single": ((1, 1, 4, 4), (1, 3, 3), 1, 1, 1, True),
    "3x3": ((2, 3, 5, 5), (4, 3, 3), 1, 1, 1, False),
    "3x3-stride2-odd": ((2, 3, 7, 6), (5, 3, 3), 2, 1, 1, False),
    "3x3-valid-bias": ((2, 2, 6, 5), (3, 3, 3), 1, 0, 1, True),
    "1x1": ((2, 4, 5, 4), (6, 1, 1), 1, 0, 1, False),
    "1x1-stride2": ((2, 4, 5, 7), (3, 1, 1), 2, 0, 1, True),
    "1x1-padding1": ((1, 2, 3, 4), (3, 1, 1), 1, 1, 1, True),
    "7x7-stride2-padding3": ((1, 3, 11, 9), (4, 7, 7), 2, 3, 1, False),
    "5x5-stride3-padding2": ((1, 2, 9, 8), (3, 5, 5), 3, 2, 1, True),
    "2x3": ((2, 2, 4, 5), (3, 2, 3), 1, 1, 1, True),
    "2x2-stride3": ((1, 2, 8, 7), (3, 2, 2), 3, 0, 1, False),
    "whole-image": ((2, 3, 4, 4), (5, 4, 4), 1, 0, 1, True),
    "two-groups": ((2, 4, 5, 5), (6, 3, 3), 1, 1, 2, True),
    "depthwise-stride2": ((1, 4, 6, 5), (4, 3, 3), 2, 1, 4, False),
    "depthwise-two-each": ((1, 3, 4, 5), (6, 3, 3), 1, 1, 3, True),
    "seventeen-channels": ((1, 17, 3, 3), (5, 3, 3), 1, 1, 1, False),
}


def convolution(rng: np.random.Generator, name: str) -> dict:
    shape, (n_out, *kernel), stride, padding, groups, with_bias = CONVOLUTIONS[name]
    x, weight = leaf(rng, *shape), leaf(rng, n_out, shape[1] // groups, *kernel, scale=0.5)
    bias = leaf(rng, n_out) if with_bias else None
    y = F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)
    grad_y, inputs = grid(rng, *y.shape), {"x": x, "weight": weight, "bias": bias}
    tensors = {**inputs, "y": y, "grad_y": grad_y, **gradients(y, grad_y, inputs)}
    return {"name": name, "stride": stride, "padding": padding, "groups": groups, **flats(tensors)}


# name: (N, C, H, W), (O, kh, kw), strides, padding (top, left, bottom, right), dilations, groups
GENERAL = {
    "stride-1x2": ((2, 3, 5, 6), (4, 3, 3), (1, 2), (1, 1, 1, 1), (1, 1), 1),
    "same-as-tensorflow": ((1, 3, 8, 8), (4, 3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 1),
    "one-sided": ((1, 2, 5, 4), (3, 2, 3), (1, 1), (2, 0, 0, 3), (1, 1), 1),
    "dilation-2": ((1, 3, 7, 7), (4, 3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
    "dilation-2x3-stride-3x2": ((2, 2, 9, 10), (3, 2, 3), (3, 2), (1, 2, 0, 3), (2, 3), 1),
    "depthwise": ((1, 9, 5, 6), (9, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 9),
    "depthwise-5x5-stride2-one-sided": ((1, 17, 7, 8), (17, 5, 5), (2, 2), (1, 1, 2, 2), (1, 1), 17),
    "depthwise-three-each-dilation-2": ((1, 4, 6, 5), (12, 3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 4),
    "groups-of-four": ((1, 12, 4, 5), (12, 3, 3), (2, 1), (1, 1, 1, 1), (1, 1), 3),
    "groups-of-eight-to-ten": ((1, 16, 4, 3), (20, 2, 3), (1, 1), (1, 0, 0, 1), (1, 1), 2),
    "1x1-groups": ((1, 10, 3, 4), (15, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 5),
}


def general_convolution(rng: np.random.Generator, name: str) -> dict:
    shape, (n_out, *kernel), stride, padding, dilation, groups = GENERAL[name]
    x, weight = leaf(rng, *shape), leaf(rng, n_out, shape[1] // groups, *kernel, scale=0.5)
    top, left, bottom, right = padding
    padded = F.pad(x, (left, right, top, bottom))
    y = F.conv2d(padded, weight, None, stride=stride, dilation=dilation, groups=groups)
    grad_y, inputs = grid(rng, *y.shape), {"x": x, "weight": weight}
    tensors = {**inputs, "y": y, "grad_y": grad_y, **gradients(y, grad_y, inputs)}
    settings = {"stride": list(stride), "padding": list(padding), "dilation": list(dilation), "groups": groups}
    return {"name": name, **settings, **flats(tensors)}


def conv2d(rng: np.random.Generator) -> dict:
    return {"cases": [convolution(rng, name) for name in CONVOLUTIONS]}


def conv2d_general(rng: np.random.Generator) -> dict:
    return {"cases": [general_convolution(rng, name) for name in GENERAL]}


CONV2D = [
    "y = conv2d(x, weight, bias); weight (O, C / groups, kh, kw); grad_*: of sum(grad_y * y); bias may be null",
]
CONV2D_GENERAL = [
    "y = conv2d(x, weight); weight (O, C / groups, kh, kw); grad_*: of sum(grad_y * y)",
    "strides and dilations down and to the right; padding above, to the left, below, to the right",
]

# --- batch norm -----------------------------------------------------------------------


def normalization(rng: np.random.Generator, shape: tuple, mode: str, relu: bool, residual: bool) -> dict:
    """relu?(bn(x) + residual?), redrawn until nothing sits on ReLU's kink."""
    c, draw_residual = shape[1], residual
    while True:
        x, weight, bias = leaf(rng, *shape, shift=0.5), leaf(rng, c, scale=0.5, shift=1.0), leaf(rng, c)
        residual = leaf(rng, *shape) if draw_residual else None
        before = {"running_mean": grid(rng, c), "running_var": grid(rng, c, scale=0.25).abs() + 0.5}
        mean, var = (value.clone() for value in before.values())
        y = F.batch_norm(x, mean, var, weight, bias, mode == "train", 0.1, 1e-5)
        y = y if residual is None else y + residual
        if not relu or y.abs().min() > 1e-3:
            break
    y = F.relu(y) if relu else y
    grad_y, inputs = grid(rng, *shape), {"x": x, "weight": weight, "bias": bias, "residual": residual}
    after = {"running_mean_after": mean, "running_var_after": var}
    tensors = {**inputs, **before, "y": y, **after, "grad_y": grad_y, **gradients(y, grad_y, inputs)}
    name = "-".join([mode, "x".join(map(str, shape)), *["relu"] * relu, *["residual"] * draw_residual])
    return {"name": name, "mode": mode, "relu": relu, **flats(tensors)}


def batch_norm(rng: np.random.Generator) -> dict:
    shapes = [(4, 3, 2, 3), (2, 1, 1, 1), (3, 17, 2, 2)]
    cases = [(shape, mode, False, False) for shape in shapes for mode in ("train", "eval")]
    for mode in ("train", "eval"):
        cases += [((3, 5, 3, 2), mode, relu, residual) for relu, residual in [(True, False), (False, True), (True, True)]]
    return {"momentum": 0.1, "eps": 1e-5, "cases": [normalization(rng, *case) for case in cases]}


BATCH_NORM = [
    "y = batch_norm(x), plus residual if it is not null, then ReLU if relu; mode train: with the batch's mean and "
    "biased variance; eval: with running_mean and running_var",
    "running_*_after: after this forward (unchanged in eval): 0.9 * before + 0.1 * the batch's, the variance unbiased",
    "grad_*: of sum(grad_y * y)",
]

# --- max-pooling ------------------------------------------------------------------------

# name: (N, C, H, W), kernel, stride, padding
POOLS = {
    "2x2": ((2, 3, 4, 6), 2, 2, 0),
    "2x2-odd": ((1, 2, 5, 7), 2, 2, 0),
    "2x2-overlapping": ((2, 2, 4, 5), 2, 1, 0),
    "3x3-stride2-padding1": ((2, 2, 7, 6), 3, 2, 1),
    "3x3-stride1-padding1": ((1, 3, 4, 4), 3, 1, 1),
    "2x2-stride3": ((1, 2, 8, 7), 2, 3, 0),
    "1x1-stride2": ((1, 2, 5, 4), 1, 2, 0),
    "whole-image": ((2, 2, 3, 3), 3, 3, 0),
}


def pooling(rng: np.random.Generator, name: str, ties: str) -> dict:
    shape, kernel, stride, padding = POOLS[name]
    values = {"some-ties": rng.integers(-2, 2, shape), "all-equal": np.zeros(shape), "negative": rng.integers(-9, -6, shape)}
    x = torch.from_numpy(values[ties].astype(np.float64)).requires_grad_()
    y = F.max_pool2d(x, kernel, stride, padding)
    grad_y = grid(rng, *y.shape)
    tensors = {"x": x, "y": y, "grad_y": grad_y, **gradients(y, grad_y, {"x": x})}
    return {"name": f"{name}-{ties}", "kernel": kernel, "stride": stride, "padding": padding, **flats(tensors)}


def max_pool2d(rng: np.random.Generator) -> dict:
    ties = ["some-ties", "all-equal", "negative"]
    return {"cases": [pooling(rng, name, kind) for name in POOLS for kind in ties]}


MAX_POOL2D = [
    "y = max_pool2d(x), padded with -inf; whole numbers with many ties: the first maximum in row-major order of its "
    "window receives grad_y, added up over windows; grad_x: of sum(grad_y * y)",
]


def main() -> None:
    files = [
        ("conv2d", CONV2D, conv2d, 1e-5, 1e-5),
        ("conv2d_general", CONV2D_GENERAL, conv2d_general, 1e-5, 1e-5),
        ("batch_norm", BATCH_NORM, batch_norm, 2e-5, 2e-5),
        ("max_pool2d", MAX_POOL2D, max_pool2d, 1e-6, 1e-6),
        ("networks", networks.RULES, networks.networks, 1e-5, 1e-4),
    ]
    write_all(folder(__doc__), files, Path(__file__).name)


if __name__ == "__main__":
    main()
