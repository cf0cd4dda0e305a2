"""A network in an ONNX file of kd's as a PyTorch module, with its weights as parameters: the same start, and the
same function, in another engine.
"""

from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn


LEARNED = ("Conv", "Gemm", "BatchNormalization")


class OnnxNet(nn.Module):
    """Runs the nodes one after another; batch norm learns in training mode, with PyTorch's momentum 0.1."""

    def __init__(self, path: Path):
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes, self.names = list(graph.node), {}
        self.input, self.output = graph.input[0].name, graph.output[0].name
        learned = {name for node in self.nodes if node.op_type in LEARNED for name in node.input[1:3]}
        for i, initializer in enumerate(graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(initializer).copy())
            name = self.names[initializer.name] = f"value{i}"
            if initializer.name in learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def named(self, end: str) -> list[str]:
        """The parameters whose names in the file begin with `end`."""
        return [own for name, own in self.names.items() if name.startswith(end)]

    def norms(self) -> list[str]:
        """The parameters of its batch norms."""
        norms = [node for node in self.nodes if node.op_type == "BatchNormalization"]
        return [self.names[name] for node in norms for name in node.input[1:3]]

    def head(self, end: str) -> int:
        """The place of the node whose parameters' names in the file begin with `end`."""
        return next(i for i, node in enumerate(self.nodes) if any(name.startswith(end) for name in node.input))

    def features(self, images: Tensor, head: int) -> Tensor:
        """What the node at place `head` reads."""
        return self.between(images, self.input, self.nodes[:head], self.nodes[head].input[0])

    def from_features(self, features: Tensor, head: int) -> Tensor:
        """The logits, from what the node at place `head` reads."""
        return self.between(features, self.nodes[head].input[0], self.nodes[head:], self.output)

    def forward(self, images: Tensor) -> Tensor:
        return self.between(images, self.input, self.nodes, self.output)

    def between(self, value: Tensor, name: str, nodes: list, output: str) -> Tensor:
        """`output`, by `nodes`, from the value `name`."""
        values = {name: getattr(self, own) for name, own in self.names.items()} | {name: value}
        for node in nodes:
            inputs = [values[name] if name else None for name in node.input]
            settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            values[node.output[0]] = self.run(node.op_type, inputs, settings)
        return values[output]

    def run(self, op: str, x: list, settings: dict) -> Tensor:
        match op:
            case "Constant":
                return torch.from_numpy(numpy_helper.to_array(settings["value"]).copy())
            case "Conv":
                return conv(x, settings)
            case "BatchNormalization":
                return F.batch_norm(x[0], x[3], x[4], x[1], x[2], self.training, 0.1, settings.get("epsilon", 1e-5))
            case "Clip":
                return x[0].clamp(float(x[1]), float(x[2]))
            case "Relu":
                return F.relu(x[0])
            case "Add":
                return x[0] + x[1]
            case "Sub":
                return x[0] - x[1]
            case "Mul":
                return x[0] * x[1]
            case "Div":
                return x[0] / x[1]
            case "GlobalAveragePool":
                return x[0].mean((2, 3), keepdim=True)
            case "AveragePool":
                return F.avg_pool2d(x[0], settings["kernel_shape"], settings["strides"])
            case "MaxPool":
                return F.max_pool2d(x[0], settings["kernel_shape"], settings["strides"], settings["pads"][:2])
            case "Flatten":
                return x[0].flatten(1)
            case "Reshape":
                return x[0].reshape([n if n != 0 else x[0].shape[i] for i, n in enumerate(x[1].tolist())])
            case "Gemm":
                return F.linear(x[0], x[1] if settings.get("transB") else x[1].T, x[2] if len(x) > 2 else None)
            case "Identity":
                return x[0]
        raise SystemExit(f"{op} is not known here; add it to {__file__}")


def conv(x: list, settings: dict) -> Tensor:
    top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
    image, bias = x[0], x[2] if len(x) > 2 else None
    padding = (top, left)
    if (top, left) != (bottom, right):
        image, padding = F.pad(image, (left, right, top, bottom)), 0
    return F.conv2d(
        image, x[1], bias, settings.get("strides", 1), padding, settings.get("dilations", 1), settings.get("group", 1)
    )
