"""Writes the golden values of a network's single operations, with PyTorch in float64.

    python tests/golden/make_golden_ops.py [--out DIR]

The rules of make_golden.py and make_golden_conv.py hold here too: a tensor is {"shape": [...],
"values": [...]}, row-major, maps of features in PyTorch's order (N, C, H, W).
"""


import numpy as np
import torch
import torch.nn.functional as F
from make_golden import SEED, folder, write
from make_golden_conv import flat, grid, leaf

MAP, VECTOR = (2, 5, 2, 3), (2, 37)


def case(rng: np.random.Generator, name: str, op: dict, compute, *shapes, params=()) -> dict:
    """An operation on inputs of these shapes, and the gradients of sum(grad_y * y)."""
    inputs = [leaf(rng, *shape, scale=2.0) for shape in shapes]
    params = [leaf(rng, *shape) for shape in params]
    y = compute(*inputs, *params)
    grad_y = grid(rng, *y.shape)
    grads = torch.autograd.grad(y, inputs + params, grad_y)
    tensors = {
        "inputs": inputs,
        "params": params,
        "grad_inputs": grads[: len(inputs)],
        "grad_params": grads[len(inputs) :],
    }
    lists = {key: [flat(tensor) for tensor in value] for key, value in tensors.items()}
    return {"name": name, "op": op, "y": flat(y), "grad_y": flat(grad_y), **lists}


# name: (op, function)
ACTIVATIONS = {
    "leaky-relu": ({"kind": "leaky-relu", "slope": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
    "hard-sigmoid": ({"kind": "hard-sigmoid", "slope": 1 / 6, "shift": 0.5}, F.hardsigmoid),
    "hard-swish": ({"kind": "hard-swish"}, F.hardswish),
    "sigmoid": ({"kind": "sigmoid"}, torch.sigmoid),
    "silu": ({"kind": "silu"}, F.silu),
    "gelu": ({"kind": "gelu"}, F.gelu),
}


def activations(rng: np.random.Generator) -> list[dict]:
    kinds = ACTIVATIONS.items()
    return [case(rng, name, op, f, shape) for name, (op, f) in kinds for shape in (MAP, VECTOR)]


def layer_norm(x, weight, bias, eps: float):
    last = x.movedim(1, -1)
    return F.layer_norm(last, weight.shape, weight, bias, eps).movedim(-1, 1)


def normalizations(rng: np.random.Generator) -> list[dict]:
    cases = []
    for shape, eps in [(MAP, 1e-5), (VECTOR, 1e-6), ((1, 40, 2, 3), 0.01)]:
        op, params = {"kind": "layer-norm", "eps": eps}, [(shape[1],)] * 2
        compute = lambda x, w, b, eps=eps: layer_norm(x, w, b, eps)
        cases.append(case(rng, f"layer-norm-{shape[1]}", op, compute, shape, params=params))
    for t in (0.5, 1.0, 4.0):
        op = {"kind": "softmax", "temperature": t}
        cases.append(case(rng, f"softmax-{t}", op, lambda x, t=t: F.softmax(x / t, dim=1), VECTOR))
    mean, std = [0.5, 0.25, 0.0, -1.0, 0.125], [0.25, 0.5, 1.0, 2.0, 0.75]
    shaped = [torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (mean, std)]
    op = {"kind": "normalize", "mean": mean, "std": std}
    return cases + [case(rng, "normalize", op, lambda x: (x - shaped[0]) / shaped[1], MAP)]


def option_a(x, stride: int, n_zeros: int):
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, n_zeros, n_zeros))


def channels(rng: np.random.Generator) -> list[dict]:
    mul, concat = {"kind": "mul"}, {"kind": "concat"}
    joined = lambda *x: torch.cat(x, dim=1)
    others = [(2, 17, 2, 3), (2, 1, 2, 3)]
    middle = {"kind": "slice-channels", "first": 1, "count": 3}
    shuffles = [
        case(rng, f"channel-shuffle-{g}", {"kind": "channel-shuffle", "groups": g},
             lambda x, g=g: F.channel_shuffle(x, g), (2, 12, 2, 3))
        for g in (2, 3, 6)
    ]
    pads = [
        case(rng, f"subsample-pad-{s}-{z}", {"kind": "subsample-pad", "stride": s, "n_zeros": z},
             lambda x, s=s, z=z: option_a(x, s, z), (2, 3, 5, 6))
        for s, z in ((2, 2), (3, 1), (1, 0))
    ]
    return [
        case(rng, "mul", mul, torch.mul, MAP, MAP),
        case(rng, "mul-vectors", mul, torch.mul, VECTOR, VECTOR),
        case(rng, "mul-by-channel", mul, torch.mul, MAP, (2, 5, 1, 1)),
        case(rng, "mul-by-vector", mul, lambda x, y: x * y[:, :, None, None], MAP, (2, 5)),
        case(rng, "concat", concat, joined, MAP, *others),
        case(rng, "concat-vectors", concat, joined, VECTOR, (2, 2)),
        case(rng, "slice", middle, lambda x: x[:, 1:4], MAP),
        case(rng, "slice-vector", middle, lambda x: x[:, 1:4], VECTOR),
        case(rng, "flatten", {"kind": "flatten"}, lambda x: x.flatten(1), (2, 18, 3, 2)),
        *shuffles,
        *pads,
    ]


# kernel, stride, padding: above, left, below, right
WINDOWS = [
    ([2, 2], [2, 2], [0, 0, 0, 0]),
    ([3, 3], [2, 2], [1, 1, 1, 1]),
    ([3, 3], [1, 1], [1, 1, 1, 1]),
    ([2, 3], [2, 1], [1, 0, 0, 2]),
    ([3, 2], [1, 2], [0, 1, 2, 1]),
]


def padded(x, padding: list[int], value: float):
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def mean_of_pixels(x, kernel, stride, padding):
    """Each window's mean over its pixels within the image."""
    sums, counts = (F.avg_pool2d(padded(t, padding, 0.0), kernel, stride) for t in (x, torch.ones_like(x)))
    if padding == [padding[0]] * 4:
        by_torch = F.avg_pool2d(x, kernel, stride, padding[0], count_include_pad=False)
        torch.testing.assert_close(sums / counts, by_torch)
    return sums / counts


def pooling(rng: np.random.Generator) -> list[dict]:
    shape, cases = (1, 3, 7, 5), []
    for i, window in enumerate(WINDOWS):
        kernel, stride, padding = window
        settings = {"kernel": kernel, "stride": stride, "padding": padding}
        largest = lambda x, w=window: F.max_pool2d(padded(x, w[2], -np.inf), w[0], w[1])
        mean = lambda x, w=window: F.avg_pool2d(padded(x, w[2], 0.0), w[0], w[1])
        inside = lambda x, w=window: mean_of_pixels(x, *w)
        for name, op, compute in [
            ("max-pool", {"kind": "max-pool", **settings}, largest),
            ("avg-pool", {"kind": "avg-pool", **settings, "count_padding": True}, mean),
            ("avg-pool-inside", {"kind": "avg-pool", **settings, "count_padding": False}, inside),
        ]:
            cases.append(case(rng, f"{name}-{i}", op, compute, shape))
    mean = lambda x: F.adaptive_avg_pool2d(x, 1)
    return cases + [case(rng, "global-avg-pool", {"kind": "global-avg-pool"}, mean, shape)]


RULES = [
    "op: as a graph's file has it; inputs, params: in the operation's order; params of layer-norm: weight, bias",
    "grad_*: gradients of sum(grad_y * y); inputs and grad_y lie on a grid of 1/4, 9 significant digits",
    "max-pool: the first of equal values takes the gradient; padding is -inf; avg-pool: padding is 0, and where "
    "count_padding is false it is not counted; padding: above, left, below, right",
]


def main() -> None:
    out = folder(__doc__)
    rng = np.random.default_rng([SEED, *b"ops"])
    tolerance = {"atol": 3e-6, "rtol": 3e-6}
    values, maps = activations(rng) + normalizations(rng), channels(rng) + pooling(rng)
    for name, cases in [("ops_values.json", values), ("ops_maps.json", maps)]:
        write(out, name, RULES, tolerance, {"cases": cases}, "make_golden_ops.py")


if __name__ == "__main__":
    main()
