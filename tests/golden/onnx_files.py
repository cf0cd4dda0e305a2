"""Networks with lively random weights and their ONNX files, as PyTorch's two exporters write them; for
make_golden_onnx.py and ../python/make_networks.py."""

import contextlib
import copy
import dataclasses
import os
import platform
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from onnx import numpy_helper
from torch import nn
from torch.onnx import TrainingMode

Normalizing = (nn.BatchNorm2d, nn.LayerNorm)


@dataclasses.dataclass(frozen=True)
class Variant:
    """How a network is written: `exporter` is `torchscript` or `dynamo`."""

    exporter: str
    opset: int
    dynamic_batch: bool
    norms: str  # "kept", "folded" into the convolutions, or kept in "training" mode, with dropout
    external_data: bool = False
    half: bool = False


def versions() -> dict:
    modules = {"torch": torch, "onnx": onnx, "onnxruntime": onnxruntime, "onnxscript": onnxscript, "numpy": np}
    return {"python": platform.python_version(), **{name: module.__version__ for name, module in modules.items()}}


# --- weights --------------------------------------------------------------------------


def draw(module: nn.Module) -> None:
    """Weights that keep the size of what passes, and scales and shifts that matter."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if isinstance(module, Normalizing) and module.weight is not None:
        nn.init.uniform_(module.weight, 0.5, 1.5)
    if getattr(module, "bias", None) is not None:
        nn.init.normal_(module.bias, 0.0, 0.1)
    if hasattr(module, "layer_scale"):  # ConvNeXt's, which begins at 1e-6
        nn.init.uniform_(module.layer_scale, 0.1, 0.5)


@torch.no_grad()
def enliven(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """Draws all weights; the running statistics become those of `images`, and then a little different. The last
    layer is scaled so that logits of `images` have standard deviation 2."""
    network.apply(draw)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(images)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(0.7 + 0.8 * torch.rand_like(norm.running_var))
    head = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))][-1]
    scale = 2.0 / network.eval()(images).std()
    for parameter in head.parameters():
        parameter.mul_(scale)
    return network


def without_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


# --- files ----------------------------------------------------------------------------


def to_torchscript(network: nn.Module, images: torch.Tensor, path: Path, variant: Variant) -> None:
    modes = {"kept": TrainingMode.PRESERVE, "folded": TrainingMode.EVAL, "training": TrainingMode.TRAINING}
    torch.onnx.export(
        network,
        (images,),
        str(path),
        dynamo=False,
        opset_version=variant.opset,
        training=modes[variant.norms],
        do_constant_folding=variant.norms == "folded",
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}} if variant.dynamic_batch else None,
    )


def to_dynamo(network: nn.Module, images: torch.Tensor, path: Path, variant: Variant) -> None:
    """Its optimizer folds batch norm into convolutions; without it they are kept."""
    torch.onnx.export(
        network,
        (images,),
        str(path),
        dynamo=True,
        verbose=False,
        opset_version=variant.opset,
        optimize=variant.norms == "folded",
        external_data=variant.external_data,
        dynamic_shapes=({0: torch.export.Dim("batch")},) if variant.dynamic_batch else None,
    )


def export(network: nn.Module, images: torch.Tensor, path: Path, variant: Variant) -> None:
    """Of a copy, as tracing in training mode changes the running statistics."""
    network = copy.deepcopy(network)
    if variant.half:
        network, images = network.half(), images.half()
    write = {"torchscript": to_torchscript, "dynamo": to_dynamo}[variant.exporter]
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        write(network, images, path, variant)
    onnx.checker.check_model(str(path), full_check=True)


@torch.no_grad()
def reread(network: nn.Module, path: Path) -> nn.Module:
    """With the tensors of a file, where they have PyTorch's names: rounded to float16, or with the running
    statistics that tracing in training mode moved on."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}
    network = copy.deepcopy(network).eval()
    for name, values in network.state_dict().items():
        values.copy_(torch.tensor(tensors.get(name, values.numpy())))
    return network


def run(path: Path, images: torch.Tensor) -> np.ndarray:
    """onnxruntime's logits."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    values = images.numpy().astype(np.float16 if "16" in entry.type else np.float32)
    return session.run(None, {entry.name: values})[0].astype(np.float32)


# --- a training step ------------------------------------------------------------------


def step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype) -> dict:
    """Loss, gradients by name, and batch norm's statistics after one forward pass in training mode."""
    network = without_dropout(copy.deepcopy(network)).to(dtype).train()
    loss = nn.functional.cross_entropy(network(images.to(dtype)), labels)
    loss.backward()
    grads = {name: parameter.grad for name, parameter in network.named_parameters()}
    running = {name: buffer for name, buffer in network.named_buffers() if ".running_" in name}
    return {"loss": loss.detach(), "grads": grads, "running": running}
