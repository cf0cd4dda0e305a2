"""Writes the tiny files of weights in tests/golden/weights, with PyTorch.

    python tests/golden/make_golden_weights.py [--out DIR]

needs torch >= 2.0 and safetensors. The Rust tests read these files and never change them. Values
are multiples of 1/4, exact in every type used, and stand in `weights.json` beside their types and
shapes; the files hold them in every layout that torch.save writes: plain, transposed, as slices
of a shared storage, as parameters, within nested dictionaries; in the zip format and in the one
before PyTorch 1.6.
"""

import argparse
import collections
import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def numbers(n: int, first: int = 0) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float32) + first - n // 2) / 4


def state() -> collections.OrderedDict:
    shared = numbers(12)
    tensors = collections.OrderedDict()
    tensors["conv.weight"] = numbers(8).reshape(2, 1, 2, 2)
    tensors["conv.bias"] = numbers(2).double()
    tensors["norm.weight"] = numbers(3).half()
    tensors["norm.bias"] = numbers(3, 5).bfloat16()
    tensors["norm.running_mean"] = shared[2:5]
    tensors["norm.running_var"] = shared[6::2]
    tensors["norm.num_batches_tracked"] = torch.tensor(7)
    tensors["fc.weight"] = numbers(6).reshape(3, 2).t()
    tensors["fc.bias"] = torch.nn.Parameter(numbers(2, 9))
    tensors["scale"] = torch.tensor(-1.5)
    tensors["none"] = torch.empty(0, 3)
    return tensors


def nested(tensors: collections.OrderedDict) -> dict:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with_prefix = collections.OrderedDict(("module." + name, t) for name, t in tensors.items())
    return {
        "epoch": 3,
        "best_prec1": 91.5,
        "arch": "tiny",
        "state_dict": with_prefix,
        "optimizer": optimizer.state_dict(),
    }


def expected(tensors: collections.OrderedDict) -> dict:
    return {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "values": t.detach().double().flatten().tolist(),
        }
        for name, t in tensors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tensors = state()
    for name, content in [("plain", tensors), ("nested", nested(tensors))]:
        torch.save(content, out / f"{name}-zip.pt")
        torch.save(content, out / f"{name}-legacy.pt", _use_new_zipfile_serialization=False)
    plain = {name: t.detach().clone().contiguous() for name, t in tensors.items()}
    save_file(plain, out / "plain.safetensors")
    header = {"written_by": "tests/golden/make_golden_weights.py", "torch": torch.__version__}
    text = json.dumps({"header": header, "tensors": expected(tensors)}, indent=1)
    (out / "weights.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
