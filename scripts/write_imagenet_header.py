"""Write src/booth/imagenet.json: where each tensor lies in the file of EfficientNet-Lite0's weights.

    python scripts/write_imagenet_header.py

The file is one of torch's, from before it wrote zip archives: pickles, and after them each storage as the number of its
values (8 bytes) and the values. Only this script has torch read it (`weights_only=True`, once the hash is right), to
find which tensor is where; booth reads the tensors by what is written here and never the pickles.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict

import torch

from booth import imagenet

DTYPES = {torch.float32: "F32", torch.int64: "I64"}
COUNT = struct.Struct("<q")


def stored(tensor: torch.Tensor) -> bytes:
    """The values in the order in which they are stored: those of convolutions lie as TensorFlow has them."""
    return tensor.as_strided((tensor.numel(),), (1,)).numpy().tobytes()


def main() -> None:
    """Find every tensor and write the header, in the notation of safetensors and with strides."""
    file = imagenet.weights_file()
    data = imagenet.read_known(file)
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    left: dict[bytes, list[str]] = defaultdict(list)  # tensors of the same values may change places
    for name, tensor in tensors.items():
        left[stored(tensor)].append(name)
    place = len(data) - sum(COUNT.size + t.numel() * t.element_size() for t in tensors.values())
    header: dict[str, dict[str, object]] = {}
    sizes = {(t.numel(), t.numel() * t.element_size()) for t in tensors.values()}
    while place < len(data):
        (count,) = COUNT.unpack_from(data, place)
        begin = place + COUNT.size
        for size in sorted(size for values, size in sizes if values == count):
            names = left.get(data[begin : begin + size])
            if names:
                name, place = names.pop(), begin + size
                break
        else:
            raise SystemExit(f"No tensor has the {count} values at {place}.")
        tensor = tensors[name]
        kind, shape, strides = DTYPES[tensor.dtype], list(tensor.shape), list(tensor.stride())
        header[name] = {"dtype": kind, "shape": shape, "strides": strides, "data_offsets": [begin, place]}
    lines = (f"{json.dumps(name)}: {json.dumps(header[name])}" for name in tensors)
    imagenet.HEADER.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
