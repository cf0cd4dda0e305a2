"""Writes well-known networks with random weights as ONNX files, as people export them, with reference values.

    python tests/python/make_networks.py DIR [NETWORK ...]

needs torch, torchvision, timm, onnx, onnxscript, onnxruntime, numpy and safetensors, no network access, and
about 5 GB in DIR; takes about twenty minutes. For every network it writes the folder DIR/NETWORK with

    model.VARIANT.onnx      (see `VARIANTS`), one of them with its weights in a file of their own
    reference.safetensors   `images` (N, 3, H, W) in [0, 1] and `logits`, onnxruntime's of the first variant;
                            for those in `TRAINED` also `logits.ts17.training` and `logits.ts17.half`, PyTorch's
                            in evaluation mode and float32 with that file's tensors, and a training step in float64
                            without dropout: `train.images`, `train.labels`, `train.loss` (cross entropy, mean over
                            the batch), `grad.PARAMETER` of every parameter and `running.BUFFER`, batch norm's
                            statistics afterwards; of images that stay off the network's kinks (see `off_kinks`)
    reference.json          versions, how each variant was written, which names of PyTorch's its initializers
                            do not have, how far its logits lie from PyTorch's in float64, and how far PyTorch's
                            float32 gradients lie from `grad.*`
"""

import argparse
import copy
import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torchvision
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
from onnx_files import Variant, enliven, export, reread, run, step, versions, without_dropout  # noqa: E402

SEED = 20150309
CLASSES = 10
NAMES = [
    "resnet18",
    "resnet50",
    "wide_resnet50_2",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "densenet121",
    "regnet_x_400mf",
    "vgg11_bn",
    "convnext_tiny",
    "efficientnet_lite0",
]
TRAINED = ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "densenet121"]
LARGE = ["wide_resnet50_2", "vgg11_bn"]
VARIANTS = {
    "ts17.kept": Variant("torchscript", 17, True, "kept"),
    "ts17.folded": Variant("torchscript", 17, False, "folded"),
    "dynamo": Variant("dynamo", 20, False, "folded", external_data=True),
    "ts13.kept": Variant("torchscript", 13, False, "kept"),
    "ts13.folded": Variant("torchscript", 13, True, "folded"),
    "dynamo.kept": Variant("dynamo", 18, True, "kept"),
    "dynamo.dynamic": Variant("dynamo", 20, True, "folded"),
}
MORE = {
    "ts17.training": Variant("torchscript", 17, True, "training"),
    "ts17.half": Variant("torchscript", 17, True, "kept", half=True),
}


class Normalized(nn.Module):
    """Takes pixels: normalization stands in the file."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


def build(name: str) -> nn.Module:
    if name == "efficientnet_lite0":
        return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=CLASSES, exportable=True)
    return torchvision.models.get_model(name, weights=None, num_classes=CLASSES)


def pictures(n: int, side: int) -> torch.Tensor:
    """Soft patches, a tint and noise, so that pooled features differ from image to image."""
    patches = torch.rand(n, 3, 1, 1) * nn.functional.interpolate(torch.rand(n, 3, 4, 4), side, mode="bilinear")
    return (0.8 * patches + 0.2 * torch.rand(n, 3, side, side)).contiguous()


def variants(name: str) -> dict[str, Variant]:
    chosen = dict(list(VARIANTS.items())[:3]) if name in LARGE else dict(VARIANTS)
    return {**chosen, **(MORE if name in TRAINED else {})}


# --- names ----------------------------------------------------------------------------


def initializers(path: Path) -> dict[str, np.ndarray]:
    model = onnx.load(str(path))
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def names_in(path: Path, network: nn.Module) -> dict:
    """`renamed`, `transposed`: initializers that hold a tensor of PyTorch's (or its transpose) under another name;
    `changed`: how many have the name but other values (folded, or rounded); `absent`: how many tensors no
    initializer holds. Without counters of batches."""
    state = {name: t.numpy() for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = initializers(path)
    other = {name: values for name, values in found.items() if name not in state}
    absent = [name for name in state if name not in found]
    renamed = same_values(other, {name: state[name] for name in absent})
    transposed = same_values(other, {name: state[name].T for name in absent if state[name].ndim == 2})
    n_changed = sum(not np.array_equal(found[name], state[name]) for name in state if name in found)
    n_absent = len(set(absent) - set(renamed.values()) - set(transposed.values()))
    return {"renamed": renamed, "transposed": transposed, "changed": n_changed, "absent": n_absent}


def same_values(found: dict, state: dict) -> dict:
    """By the names in `found`, the name in `state` of equal values."""
    return {
        other: name for other, values in found.items() for name, want in state.items() if np.array_equal(values, want)
    }


# --- a batch off the kinks ------------------------------------------------------------
#
# Of millions of inputs of ReLUs, some are zero but for rounding. Whether such a one is on depends on who computes,
# and moves the gradients of all parameters before it by a percent. So no batch drawn by chance is fit to compare
# gradients; but changing pixels by a few millionths moves those few inputs away from zero.


def from_zero(x: torch.Tensor, **_) -> torch.Tensor:
    return x.abs()


def from_ends(x: torch.Tensor, min_val: float, max_val: float, **_) -> torch.Tensor:
    return torch.minimum((x - min_val).abs(), (x - max_val).abs())


def lead(x: torch.Tensor, kernel: int, stride: int, padding: int, **_) -> torch.Tensor:
    """By how much the largest in a window exceeds the second, behind a ReLU: where all are zero, none is chosen."""
    x = nn.functional.pad(x, (0, stride - 1, 0, stride - 1))  # the windows of ceil_mode
    windows = nn.functional.unfold(x, kernel, padding=padding, stride=stride)
    first, second = windows.reshape(*x.shape[:2], kernel * kernel, -1).topk(2, dim=2).values.unbind(2)
    return torch.where(first > 0, first - second, 1.0)


class Distances(TorchFunctionMode):
    """Collects how far every decision of a forward pass lies from its opposite, a tensor a layer."""

    OF = {"relu": from_zero, "hardtanh": from_ends, "max_pool2d": lead}

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        of = self.OF.get(getattr(function, "__name__", None))
        if of is not None:
            self.found.append(of(args[0].clone(), *args[1:], **kwargs))  # cloned, as ReLUs work in place
        return function(*args, **(kwargs or {}))


def distances(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    with Distances() as seen:
        network(images)
    return seen.found


@torch.no_grad()
def margins(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """By layer, three times what rounding to float32 does to all but a thousandth of the distances."""
    exact, single = distances(network.double(), images.double()), distances(network.float(), images)
    return [3.0 * (one - other).abs().quantile(0.999) for one, other in zip(exact, single)]


def off_kinks(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Moves `images` until, in training mode and float64, every distance exceeds its margin: Polyak's steps down the
    squares of what is missing, where one aims at twice the margin."""
    network = without_dropout(copy.deepcopy(network)).train()
    least = margins(network, images)
    network.double()
    for _ in range(200):
        exact = images.double().requires_grad_()
        found = distances(network, exact)
        if all((distance > margin).all() for distance, margin in zip(found, least)):
            return images
        missing = sum((1 - distance / (2 * margin)).relu().square().sum() for distance, margin in zip(found, least))
        (grad,) = torch.autograd.grad(missing, exact)
        images = (exact.detach() - 2 * missing.detach() / grad.square().sum() * grad).float()
    raise RuntimeError("images still stand at a kink after 200 steps")


# --- one network ----------------------------------------------------------------------


def difference(got: dict, want: dict) -> float:
    """|got - want| / |want| of all parameters in one vector, as kd's test compares them."""
    squares = sum((got[name] - grad).square().sum() for name, grad in want.items())
    return (squares / sum(grad.square().sum() for grad in want.values())).sqrt().item()


def in_float32(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[dict]:
    """One step in two ways of rounding."""
    one = step(network, images, labels, torch.float32)
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
        return [one, step(network, images, labels, torch.float32)]


def trained(network: nn.Module, side: int) -> tuple[dict, dict]:
    """Tensors, and how exact float32 is."""
    torch.manual_seed(SEED)  # whatever the exporters drew
    images, labels = off_kinks(network, pictures(8, side)), torch.tensor([3, 0, 7, 3, 9, 1, 4, 8])
    exact = step(network, images, labels, torch.float64)
    singles = in_float32(network, images, labels)
    far = max(difference(single["grads"], exact["grads"]) for single in singles)
    assert far < 1e-4, f"gradients in float32 differ by {far}"
    tensors = {"train.images": images, "train.labels": labels, "train.loss": exact["loss"].float()}
    tensors |= {f"grad.{name}": grad.float().contiguous() for name, grad in exact["grads"].items()}
    tensors |= {f"running.{name}": values.float() for name, values in exact["running"].items()}
    losses = {"loss": exact["loss"].item(), "loss_in_float32": singles[0]["loss"].item()}
    return tensors, {**losses, "gradients_in_float32_differ_by": far}


def written(network: nn.Module, images: torch.Tensor, path: Path, variant: Variant) -> tuple[dict, np.ndarray]:
    export(network, images, path, variant)
    graph = onnx.load(str(path), load_external_data=False).graph
    body = {
        **dataclasses.asdict(variant),
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
        "nodes": len(graph.node),
        **names_in(path, network),
    }
    return body, run(path, images)


def write_variants(name: str, network: nn.Module, images: torch.Tensor, folder: Path) -> tuple[dict, dict]:
    """Tensors of logits, and what is told of every variant."""
    with torch.no_grad():
        want = copy.deepcopy(network).double()(images.double()).float().numpy()
    tensors, body = {}, {}
    for label, variant in variants(name).items():
        path = folder / f"model.{label}.onnx"
        body[label], logits = written(network, images, path, variant)
        tensors.setdefault("logits", torch.from_numpy(logits))
        if variant.norms != "training":
            body[label]["logits_differ_by"] = differ(f"{name} {label}", logits, want, 0.05 if variant.half else 1e-4)
        if label in MORE:
            with torch.no_grad():
                tensors[f"logits.{label}"] = reread(network, path)(images)
    if name == "resnet18":
        pixels, path = Normalized(network).eval(), folder / "model.ts17.normalized.onnx"
        body["ts17.normalized"], logits = written(pixels, images, path, VARIANTS["ts17.kept"])
        tensors["logits.ts17.normalized"] = torch.from_numpy(logits)
    return tensors, body


def spread(name: str, logits: torch.Tensor) -> dict:
    std, between = logits.std().item(), (logits[0] - logits[1]).abs().max().item()
    assert 0.1 < std < 100 and between > 0.1 * std, f"{name}: dull or wild logits, {std} and {between}"
    return {"std": std, "largest_difference_of_two_images": between}


def make(name: str, folder: Path) -> None:
    torch.manual_seed(SEED)
    side = 224 if name == "vgg11_bn" else 64  # adaptive pooling to 7 x 7 exports only from multiples of 7
    folder.mkdir(parents=True, exist_ok=True)
    network = enliven(build(name), pictures(16, side))
    images = pictures(2, side)
    tensors, body = write_variants(name, network, images, folder)
    more, training = trained(network, side) if name in TRAINED else ({}, {})
    save_file({"images": images, **tensors, **more}, folder / "reference.safetensors")
    versioned = {**versions(), "torchvision": torchvision.__version__, "timm": timm.__version__}
    header = {"written_by": "tests/python/make_networks.py", **versioned, "seed": SEED}
    content = {"header": header, "logits": spread(name, tensors["logits"]), "training": training, "variants": body}
    (folder / "reference.json").write_text(json.dumps(content, indent=1) + "\n")
    print(name, content["logits"], training, flush=True)


def differ(what: str, got: np.ndarray, want: np.ndarray, tolerance: float) -> float:
    """The largest difference, as a part of the largest logit."""
    found = float(np.abs(got - want).max() / np.abs(want).max())
    assert found <= tolerance, f"{what}: logits differ by {found}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="*", default=NAMES)
    arguments = parser.parse_args()
    for name in arguments.networks:
        make(name, arguments.folder / name)


if __name__ == "__main__":
    main()
