"""Writes the tiny ONNX files in tests/golden/onnx, as PyTorch's two exporters write them, and their answers.

    python tests/golden/make_golden_onnx.py [--out DIR]

needs torch, onnx, onnxscript, onnxruntime and numpy. Each network has one pattern of well-known ones, and each
file one way of writing it. `answers.json` holds for every file onnxruntime's logits of the first two images,
and for every network one training step on all four, by PyTorch in float64 without dropout: the loss (cross
entropy, mean over the batch), of the gradient g of every parameter its norm and sum_i g_i cos(i) (i counts row
by row, from 0), and batch norm's statistics afterwards. The images are given by a formula, as are the Rust
tests': pixel (n, c, y, x) is ((37 n + 101 c + 13 y^2 + 29 x y + 17 x) mod 256) / 256.
"""

import argparse
import json
import re
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx_files import Variant, enliven, export, reread, run, step, versions
from torch import nn

SEED = 20150309
CLASSES = 5
LABELS = [3, 0, 4, 3]


def images() -> torch.Tensor:
    n, c, y, x = torch.meshgrid(*(torch.arange(k) for k in (4, 3, 16, 16)), indexing="ij")
    return ((37 * n + 101 * c + 13 * y * y + 29 * x * y + 17 * x) % 256) / 256


# --- networks -------------------------------------------------------------------------


def unit(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1, active: nn.Module | None = None):
    """Convolution, batch norm, perhaps an activation."""
    conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), *([active] if active else []))


class Residual(nn.Module):
    """Normalization within, a sum, max pooling, global pooling and flattening."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.stem, self.pool = unit(3, 4, 3, active=nn.ReLU()), nn.MaxPool2d(3, 2, 1)
        self.conv, self.shortcut = unit(4, 6, 3, 2), unit(4, 6, 1, 2)
        self.mean_pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.pool(self.stem((x - self.mean) / self.std))
        x = F.relu(self.conv(x) + self.shortcut(x))
        return self.fc(self.drop(torch.flatten(self.mean_pool(x), 1)))


class Mobile(nn.Module):
    """Depthwise convolutions and ReLU6, pooled by a mean."""

    def __init__(self):
        super().__init__()
        self.stem = unit(3, 4, 3, 2, active=nn.ReLU6())
        self.expand, self.depth = unit(4, 8, 1, active=nn.ReLU6()), unit(8, 8, 3, 1, 8, nn.ReLU6())
        self.project, self.fc = unit(8, 4, 1), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depth(self.expand(x)))
        return self.fc(x.mean([2, 3]))


class Gated(nn.Module):
    """Hard swish, and squeeze and excitation with a hard sigmoid."""

    def __init__(self):
        super().__init__()
        self.stem = unit(3, 6, 3, 2, active=nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.Hardswish(), nn.Linear(8, CLASSES))

    def forward(self, x):
        x = self.stem(x)
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x * gate, 1), 1))


class Shuffled(nn.Module):
    """Half of the channels pass by; then channels are shuffled as in torchvision's ShuffleNetV2."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = unit(3, 8, 3, 2, active=nn.ReLU()), unit(4, 4, 3, 1, 4)
        self.last, self.fc = unit(8, 6, 1, active=nn.ReLU()), nn.Linear(6, CLASSES)

    def forward(self, x):
        left, right = self.stem(x).chunk(2, dim=1)
        x = torch.cat((left, self.branch(right)), dim=1)
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.fc(self.last(x).mean([2, 3]))


class Dense(nn.Module):
    """Concatenation of all that was; pooling of every kind: rounding up, with and without its zeros."""

    def __init__(self):
        super().__init__()
        self.stem, self.ceil = nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.with_zeros, self.without = nn.AvgPool2d(3, 3, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.last, self.fc = nn.BatchNorm2d(8), nn.Linear(8 * 3 * 3, CLASSES)

    def forward(self, x):
        x = self.ceil(self.stem(x))
        x = torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)
        x = F.relu(self.last(self.without(self.with_zeros(x))))
        return self.fc(x.view(x.size(0), -1))


class Scaled(nn.Module):
    """As ConvNeXt: layer norm over channels, linear layers on the last axis, GELU, a scale per channel."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6, eps=1e-6)
        self.conv, self.inner = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.LayerNorm(6, eps=1e-6)
        self.wide, self.narrow = nn.Linear(6, 12), nn.Linear(12, 6)
        self.layer_scale = nn.Parameter(torch.ones(6, 1, 1))
        self.last, self.fc = nn.LayerNorm(6, eps=1e-6), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.norm(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.inner(self.conv(x).permute(0, 2, 3, 1))
        x = x + self.layer_scale * self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
        return self.fc(self.last(x.mean([2, 3])))


class OneSided(nn.Module):
    """Zeros on two sides only, as TensorFlow's padding does; SiLU."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, 2, bias=False), nn.BatchNorm2d(6)
        self.depth, self.fc = nn.Conv2d(6, 6, 5, 2, groups=6), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = F.silu(self.norm(self.stem(F.pad(x, (0, 1, 0, 1)))))
        return self.fc(F.silu(self.depth(F.pad(x, (1, 2, 1, 2)))).mean([2, 3]))


# --- files ----------------------------------------------------------------------------

NETWORKS = {
    "residual": Residual,
    "fresh": Residual,  # as it is before any training: of equal parameters, exporters write one
    "mobile": Mobile,
    "gated": Gated,
    "shuffled": Shuffled,
    "dense": Dense,
    "scaled": Scaled,
    "one-sided": OneSided,
}
FILES = {
    "residual.kept": Variant("torchscript", 13, True, "kept"),
    "residual.folded": Variant("torchscript", 17, True, "folded"),
    "residual.training": Variant("torchscript", 17, True, "training"),
    "fresh.kept": Variant("torchscript", 17, True, "kept"),
    "mobile.old": Variant("torchscript", 9, True, "folded"),
    "mobile.half": Variant("torchscript", 13, False, "kept", half=True),
    "mobile.dynamo": Variant("dynamo", 18, True, "kept", external_data=True),
    "gated.kept": Variant("torchscript", 13, True, "kept"),
    "gated.dynamo": Variant("dynamo", 20, False, "folded"),
    "shuffled.kept": Variant("torchscript", 17, True, "kept"),
    "shuffled.dynamo": Variant("dynamo", 20, True, "folded"),
    "dense.kept": Variant("torchscript", 17, True, "kept"),
    "scaled.old": Variant("torchscript", 13, True, "folded"),
    "scaled.dynamo": Variant("dynamo", 20, True, "folded"),
    "one-sided.kept": Variant("torchscript", 17, True, "kept"),
    "one-sided.dynamo": Variant("dynamo", 20, False, "folded"),
}


def short(values) -> list | float:
    """Seven significant digits."""
    if isinstance(values, list):
        return [short(value) for value in values]
    return float(f"{values:.7g}")


def exactly(network: nn.Module) -> dict:
    """A step in float64, where no ReLU sits so close to zero that float32 would see it otherwise."""
    exact, single = (step(network, images(), torch.tensor(LABELS), dtype) for dtype in (torch.float64, torch.float32))
    for name, grad in exact["grads"].items():
        torch.testing.assert_close(single["grads"][name], grad.float(), rtol=1e-4, atol=1e-5, msg=name)
    return exact


def along(grad: torch.Tensor) -> float:
    return (grad.flatten() * torch.cos(torch.arange(grad.numel(), dtype=torch.float64))).sum().item()


def build(name: str) -> nn.Module:
    torch.manual_seed(SEED)
    network = NETWORKS[name]()
    return network.eval() if name == "fresh" else enliven(network, images())


def training_step(network: nn.Module) -> dict:
    result = exactly(network)
    grads = {name: short([grad.norm().item(), along(grad)]) for name, grad in result["grads"].items()}
    running = {name: short(values.tolist()) for name, values in result["running"].items()}
    return {"loss": short(result["loss"].item()), "gradients": grads, "running": running}


def strip(path: Path) -> None:
    """Without what describes but does not define: stack traces and shapes of values in between."""
    model = onnx.load(str(path), load_external_data=False)
    model.graph.ClearField("value_info")
    for part in [model, model.graph, *model.graph.node, *model.graph.initializer]:
        part.ClearField("metadata_props")
    onnx.save(model, str(path))


def file(network: nn.Module, path: Path, variant: Variant) -> dict:
    """PyTorch's logits where onnxruntime's are others': of a training graph, whose dropout and batch norm stay
    switched on there, and of one in float16, where it also computes in float16."""
    shown = images()[:2]
    export(network, shown, path, variant)
    strip(path)
    special = variant.half or variant.norms == "training"
    with torch.no_grad():
        want = (reread(network, path) if special else network)(shown)
    got = want if variant.norms == "training" else torch.from_numpy(run(path, shown))
    torch.testing.assert_close(got, want, rtol=0.0, atol=2e-2 if variant.half else 1e-4, msg=path.name)
    told = {"exporter": variant.exporter, "opset": variant.opset, "norms": variant.norms}
    return {**told, "logits": short((want if special else got).tolist())}


def dump(content: dict) -> str:
    """What lies three deep (a file, a parameter's numbers) is one line, and so is every list."""
    text = re.sub(r"\n {3,}", " ", json.dumps(content, indent=1))
    return re.sub(r"\s+(?=\])", "", re.sub(r"(?<=\[)\s+", "", text)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "onnx")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    networks = {name: build(name) for name in NETWORKS}
    files = {f"{name}.onnx": file(networks[name.split(".")[0]], out / f"{name}.onnx", FILES[name]) for name in FILES}
    steps = {name: training_step(network) for name, network in networks.items()}
    header = {"written_by": "tests/golden/make_golden_onnx.py", **versions(), "seed": SEED, "labels": LABELS}
    (out / "answers.json").write_text(dump({"header": header, "files": files, "steps": steps}))


if __name__ == "__main__":
    main()
