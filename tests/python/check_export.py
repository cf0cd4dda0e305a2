"""Compares networks that kd exported with PyTorch's and onnxruntime's, and writes some for kd.

    python tests/python/check_export.py DIR

needs torch, numpy, safetensors, onnx and onnxruntime. The Rust test that calls this has written,
for every network NAME: DIR/NAME.safetensors and DIR/NAME.onnx (as `kd export` does) and
DIR/NAME.data.safetensors, which holds `images` and kd's `logits`. Each must load in PyTorch with
strict=True and pass ONNX's checker, and both must give the logits within 1e-4. Then a network with
weights of PyTorch's goes the other way: DIR/NAME-zip.pt, DIR/NAME-legacy.pt (as a training script
with DataParallel writes them) and DIR/NAME.torch.safetensors with `images` and PyTorch's `logits`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
import networks  # noqa: E402

TOLERANCE = 1e-4


class Mlp(nn.Sequential):
    def __init__(self, sizes: list[int]):
        super().__init__()
        self.append(nn.Flatten())
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), start=1):
            if i > 1:
                self.append(nn.ReLU())
            self.add_module(f"fc{i}", nn.Linear(n_in, n_out))


def definition(name: str, shape: list[int]) -> nn.Module:
    """The network that kd knows by this name, for ten classes."""
    family, *parts = name.split("-")
    if family == "mlp":
        return Mlp([int(np.prod(shape)), *map(int, parts), 10])
    if family == "papernot":
        return networks.Papernot(parts[0], shape[0], shape[1])
    if family == "wrn":
        return networks.WideResNet(int(parts[0]), int(parts[1]))
    if family.startswith("vgg"):
        return networks.Vgg(int(family.removeprefix("vgg")))
    depth = int(family.removeprefix("resnet"))
    if depth in (8, 14, 20, 32, 44, 56, 110):
        return networks.CifarResNet(depth, "b" if "b" in parts else "a")
    width = next((int(part[1:]) for part in parts if part.startswith("w")), 64)
    return networks.ResNet(depth, "cifar" if "cifar" in parts else "imagenet", width)


def difference(what: str, got: np.ndarray, want: np.ndarray) -> float:
    found = float(np.abs(got - want).max())
    assert np.isfinite(got).all() and found <= TOLERANCE, f"{what}: logits differ by {found}"
    return found


def check(folder: Path, name: str) -> nn.Module:
    """From kd; gives PyTorch's network."""
    data = load_file(folder / f"{name}.data.safetensors")
    images, want = data["images"], data["logits"].numpy()
    network = definition(name, list(images.shape[1:])).eval()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
    with torch.no_grad():
        in_torch = difference(f"{name} in PyTorch", network(images).numpy(), want)
    path = str(folder / f"{name}.onnx")
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(["logits"], {"images": images.numpy()})
    in_onnx = difference(f"{name} in onnxruntime", got, want)
    (one,) = session.run(["logits"], {"images": images[:1].numpy()})
    difference(f"{name} in onnxruntime, one image", one, want[:1])
    print(f"{name:24} PyTorch {in_torch:.1e}  onnxruntime {in_onnx:.1e}")
    return network


def send(folder: Path, name: str, network: nn.Module) -> None:
    """To kd: statistics of new images, and other weights of the last layer."""
    images = torch.randn_like(load_file(folder / f"{name}.data.safetensors")["images"])
    network.train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.95 + 0.1 * torch.rand_like(parameter))
        for _ in range(20):
            network(images)
        logits = network.eval()(images)
    save_file({"images": images, "logits": logits}, folder / f"{name}.torch.safetensors")
    content = {"epoch": 1, "state_dict": nn.DataParallel(network).state_dict(), "best_prec1": 12.5}
    torch.save(content, folder / f"{name}-zip.pt")
    torch.save(content, folder / f"{name}-legacy.pt", _use_new_zipfile_serialization=False)


def main() -> None:
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    suffix = ".data.safetensors"
    names = sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}"))
    assert names, f"nothing to check in {folder}"
    for name in names:
        send(folder, name, check(folder, name))


if __name__ == "__main__":
    main()
