"""Writes checkpoints as people have them into tests/golden/checkpoints, with PyTorch.

    python tests/golden/make_golden_checkpoints.py [--out DIR]

needs torch >= 2.4 and numpy. All hold the same small network, whose numbers (multiples of 1/4) are those of
`state` below, in ever another way: beside a training script's objects, under prefixes, as views, in other
pickle protocols and containers, or as what is no plain tensor at all. The Rust tests read these files and never
change them.
"""

import argparse
import collections
import dataclasses
import enum
import functools
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn


def numbers(n: int, first: int = 0) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float32) + first) / 4


def state(prefix: str = "") -> collections.OrderedDict:
    tensors = {
        "fc1.weight": numbers(12).reshape(3, 4),
        "fc1.bias": numbers(3, -5),
        "fc2.weight": numbers(6, 20).reshape(2, 3),
        "fc2.bias": numbers(2, 7),
    }
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


def changed(**tensors: object) -> collections.OrderedDict:
    """`state` with other values: `fc1_bias=...`."""
    whole = state()
    for name, tensor in tensors.items():
        whole[name.replace("_", ".")] = tensor
    return whole


class Network(nn.Module):
    def __init__(self, activation: type = nn.ReLU) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 3), nn.Linear(3, 2)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Stage(enum.Enum):
    TRAIN = "train"


class Settings(dict):
    pass


class Ordered(collections.OrderedDict):
    pass


class Watched(torch.Tensor):
    pass


@dataclasses.dataclass
class Config:
    depth: int = 2
    name: str = "tiny"


class Slots:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class NewArguments:
    def __new__(cls, *, word: str = "x") -> "NewArguments":
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple:
        return ((), {"word": "y"})


def everything() -> dict:
    """What a training script keeps beside the weights."""
    return {
        "args": argparse.Namespace(lr=0.1, device=torch.device("cuda", 1)),
        "config": Config(),
        "settings": Settings(a=1),
        "slots": Slots(),
        "new": NewArguments(),
        "stage": Stage.TRAIN,
        "partial": functools.partial(numbers, 3),
        "metric": np.float64(77.6),
        "history": np.arange(6).reshape(2, 3),
        "counter": collections.Counter({3: 2, 7: 1}),
        "default": collections.defaultdict(list, {"a": [1, 2]}),
        "set": {1, 2},
        "frozen": frozenset([3]),
        "bytes": b"\x00\xff",
        "array": bytearray(b"ab"),
        "complex": 1 + 2j,
        "large": 2**100,
        "negative": -(2**70),
        "dtype": torch.float16,
        "size": torch.Size([2, 3]),
        "function": numbers,
        "class": Network,
        "slice": slice(1, 2),
        "path": Path("a/b"),
        "deque": collections.deque([1, 2], maxlen=4),
        "rng": torch.get_rng_state()[:8],
        "keys": {None: 1, (1, 2): 2, 3.5: 3, Stage.TRAIN: 4, True: 5, 7: 6, "7": 7, "a\nb" * 99: 8},
        "complex tensor": torch.ones(2, dtype=torch.complex64),
        "words": [["a", None], ("b", {"c": 1})],
        "text": "Grüße\n",
    }


def held() -> dict:
    """Weights in what is like a dictionary, and in what only has attributes."""
    best = Settings(epoch=3, net=Ordered(state()))
    best.note = "an attribute"
    run = argparse.Namespace(epoch=3, last=state())
    run.itself = run
    return {"args": argparse.Namespace(lr=0.1), "best": best, "run": run}


def lightning() -> dict:
    weights = state("model.student.")
    weights.update({name: -tensor for name, tensor in state("model.teacher.").items()})
    weights["loss.temperature"] = torch.tensor(4.0)
    return {
        "epoch": 9,
        "global_step": 90,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": weights,
        "callbacks": {Stage: {"best": torch.tensor(0.5)}, "EarlyStopping{'monitor': 'x'}": {"wait": 1}},
        "hyper_parameters": Settings(lr=0.1),
        "optimizer_states": [{"state": {}}],
    }


def average() -> dict:
    ema = torch.optim.swa_utils.AveragedModel(filled())
    ema.update_parameters(filled())
    worse = collections.OrderedDict((name, -tensor) for name, tensor in state().items())
    return {"model": worse, "model_ema": ema.state_dict(), "epoch": 1, "args": argparse.Namespace()}


def filled() -> Network:
    network = Network()
    network.load_state_dict(state())
    return network


def with_optimizer() -> dict:
    network = filled()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 7])
    network(torch.ones(1, 4)).sum().backward()
    return {
        "model": state(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(lr=0.1),
    }


def negative(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, as numbers of the other sign and a note of that."""
    return torch._neg_view(-tensor)


def imaginary() -> torch.Tensor:
    """`fc1.bias`, as every second number of a storage, with the other sign."""
    bias = state()["fc1.bias"]
    return torch.complex(torch.zeros(3), -bias).conj().imag


def parameter() -> nn.Parameter:
    weight = nn.Parameter(state()["fc1.weight"])
    weight.note = "an attribute, which PyTorch keeps"
    return weight


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(tensor, 0.25, 0, torch.qint8)


def files() -> dict:
    """Zip files, by name."""
    weight, bias = state()["fc1.weight"], state()["fc1.bias"]
    everything_else = everything()
    flat = state()
    flat.update(epoch=3, note="beside", n_averaged=torch.tensor(5))
    return {
        "plain": state(),
        "objects": {**everything_else, "state_dict": state()},
        "scheduler": with_optimizer(),
        "reference": average(),
        "lightning": lightning(),
        "compiled": state("_orig_mod."),
        "prefixes": {"net": state("module._orig_mod.model.")},
        "flat": flat,
        "elsewhere": {"runs": {"best": {"weights of 1.5": state()}}, "optimizer": with_optimizer()["optimizer"]},
        "expanded": changed(fc1_bias=torch.tensor([1.5]).expand(3)),
        "transposed": changed(fc1_weight=weight.t().contiguous().t(), fc1_bias=torch.stack([bias, bias])[:, :].t()[:, 1]),
        "negative": changed(fc1_weight=negative(weight), fc1_bias=imaginary()),
        "parameters": changed(fc1_weight=parameter(), fc1_bias=nn.Parameter(bias)),
        "subclass": changed(fc1_weight=weight.as_subclass(Watched)),
        "halves": changed(fc1_weight=weight.half(), fc1_bias=bias.bfloat16(), fc2_bias=numbers(2, 7).double()),
        "head": changed(fc2_weight=numbers(15).reshape(5, 3), fc2_bias=numbers(5)),
        "held": held(),
        "named": {
            "model": state(),
            "classes": ["cat", "dog"],
            "labels": [1, 2],
            "data": {"names": {1: "b", 0: "a", 2: "c"}, "class_to_idx": {"d": 3, "a": 0, "b": 1, "c": 2}},
        },
        "object-within": changed(fc1_bias=Config()),
        "sparse": changed(fc1_weight=weight.to_sparse()),
        "quantized": changed(fc1_weight=quantized(weight)),
        "f8": changed(fc1_weight=weight.to(torch.float8_e4m3fn)),
        "complex": changed(fc1_bias=torch.complex(bias, bias).conj()),
        "meta": changed(fc1_weight=weight.to("meta")),
        "nested-tensor": changed(fc1_weight=torch.nested.nested_tensor([bias, bias[:2]])),
        "numpy": changed(fc1_weight=weight.numpy()),
        "unsigned": {"model": state(), "beside": torch.ones(2, dtype=torch.uint16)},
        "module": filled(),
        "module-within": {"epoch": 3, "model": filled(), "ema": None},
    }


def zipped_anew(path: Path, out: Path, *, compress: bool, folder: str | None, wide: bool = False) -> None:
    """The content of an archive in another one."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", kind) as new:
        for name in old.namelist():
            _, rest = name.split("/", 1)
            info = zipfile.ZipInfo(rest if folder is None else f"{folder}/{rest}", (2026, 1, 1, 0, 0, 0))
            info.compress_type = kind
            with new.open(info, "w", force_zip64=wide) as entry:
                entry.write(old.read(name))


def write_archives(out: Path) -> None:
    plain = out / "plain.pth"
    zipped_anew(plain, out / "deflated.pth", compress=True, folder="plain")
    zipped_anew(plain, out / "no-folder.pth", compress=True, folder=None)
    zipped_anew(plain, out / "deep-folder.pth", compress=False, folder="a/b c/plain", wide=True)
    with zipfile.ZipFile(out / "zip-within.pth", "w") as archive:
        archive.writestr(zipfile.ZipInfo("net/model.pth", (2026, 1, 1, 0, 0, 0)), b"x")
    np.savez(out / "arrays.npz", a=np.ones(2))
    script = torch.jit.trace(filled(), torch.ones(1, 4))
    script.save(out / "torchscript.pt")


def save_text(path: Path) -> None:
    """In protocol 0, which refers to storages as texts: PyTorch itself cannot load it."""
    with path.open("wb") as file:
        torch.save({"model": state()}, file, pickle_protocol=0, _use_new_zipfile_serialization=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    np.random.seed(0)
    for name, content in files().items():
        torch.save(content, out / f"{name}.pth")
    legacy = {"_use_new_zipfile_serialization": False}
    objects = {**everything(), "state_dict": state()}
    torch.save(objects, out / "protocol-4.pth", pickle_protocol=4)
    for protocol in (5, 4, 2, 1):
        if protocol == 1:
            # Slots are not for this one.
            del objects["slots"]
        torch.save(objects, out / f"legacy-{protocol}.pth", pickle_protocol=protocol, **legacy)
    save_text(out / "legacy-0.pth")
    torch.save(filled(), out / "module-legacy.pth", **legacy)
    torch.save({"model": state(), "beside": torch.ones(2, dtype=torch.complex64)}, out / "complex-legacy.pth", **legacy)
    write_archives(out)


if __name__ == "__main__":
    main()
