"""Everything that reads a file which a stranger may have made, with valid files and their damage.

The one table that the tests and the long run share: a new reader is added here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.reliability import (
    band_pictures,
    explainer_folders,
    exported_files,
    report_files,
    shard_files,
    text_files,
)
from benchmarks.reliability.mutations import (
    Mutation,
    mutate_bytes,
    mutate_json,
    mutate_lines,
    mutate_parquet,
    mutate_safetensors,
    mutate_tar,
    mutate_xml,
)
from ttame.classifiers.class_selection import class_index
from ttame.classifiers.recipe_rules import check_timm_configuration
from ttame.classifiers.sources.timm_folders import open_place
from ttame.cli.class_names import read_class_names
from ttame.datasets.annotated_photo import AnnotationSource
from ttame.datasets.coco_annotations import CocoAnnotations
from ttame.datasets.image_list import ImageList
from ttame.datasets.mask_images import read_mask
from ttame.datasets.tar_shards import TarShards
from ttame.datasets.texts.annotated_texts import AnnotatedTexts
from ttame.datasets.voc_annotations import VocAnnotations
from ttame.errors import TtameError
from ttame.evaluation.kept_maps import kept_maps
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.evaluation.run_identity import MethodFacts, check_identity, known_methods, note_methods
from ttame.evaluation.sanity import sanity_scores
from ttame.explainers.trained.settings_part import flat_settings
from ttame.images.photos import read_photo
from ttame.networks.weights_files import load_weights, read_network_weights, read_weights
from ttame.results.evaluation import (
    ColumnFacts,
    CurvePoint,
    Evaluation,
    MethodCost,
    MethodScores,
    RandomisationScore,
    Score,
)
from ttame.results.explanation import Explanation
from ttame.serving.problems import Problem
from ttame.serving.settings import ServingSettings
from ttame.serving.uploads import read_uploaded_mask, read_uploaded_photo, read_uploaded_tensor
from ttame.training.checkpoint import RunIdentity, Workforce, load_checkpoint, save_checkpoint
from ttame.training.optimisation import make_optimiser, make_schedule
from ttame.training.training_progress import TrainingLog
from ttame.training.training_settings import TrainingSettings

LONGEST_MESSAGE = 1000
"""Characters of an error."""


@dataclasses.dataclass(frozen=True)
class FileParser:
    """A reader of files.

    Attributes:
        file: its name in a folder.
        examples: writes valid files: gives the content of each.
        parse: reads the file, and uses what it found as the commands do.
        mutate: damages its content.
    """

    file: str
    examples: Callable[[], tuple[bytes, ...]]
    parse: Callable[[Path], object]
    mutate: Mutation


def harm_of(parser: FileParser, content: bytes, folder: Path) -> str:
    """Let a parser read a file.

    Args:
        parser: of the table.
        content: of the file.
        folder: where to write it.

    Returns:
        Nothing if it was read, or refused in one short line; else what happened.
    """
    path = folder / parser.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        parser.parse(path)
    except TtameError as problem:
        message = str(problem)
        # File names of the operating system are ours here, and may be long.
        length = len(message.replace(str(folder), ""))
        return "" if message.isprintable() and length <= LONGEST_MESSAGE else f"says {message!r}"
    except (Exception, RecursionError) as problem:
        return f"{type(problem).__name__}: {problem}"
    return ""


def _json(*contents: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(content).encode() for content in contents)


def _written(write: Callable[[Path], object]) -> bytes:
    """What a function writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def _coco() -> tuple[bytes, ...]:
    shapes: tuple[dict[str, object], ...] = (
        {"bbox": [1, 1, 2.5, 2]},
        {"segmentation": [[0, 0, 5, 0, 5, 3], [1, 1, 2, 1, 2.5, 2, 1, 2]]},
        {"segmentation": {"counts": [3, 5, 16], "size": [4, 6]}},
        {"segmentation": {"counts": "35`0", "size": [4, 6]}},
    )
    content = {
        "images": [{"id": 5, "file_name": "train/tom.jpg", "width": 6, "height": 4}],
        "annotations": [{"image_id": 5, "category_id": 1, **shape} for shape in shapes],
        "categories": [{"id": 1, "name": "goldfish"}],
    }
    return _json(content)


def _read_all(source: AnnotationSource) -> None:
    for number in range(min(3, len(source.names))):
        for entry in source.photo(number).objects[:3]:
            assert entry.draw().any() in (True, False)


_VOC = b"""<annotation><filename>tom.jpg</filename><size><width>6</width><height>4</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>4</ymax>
</bndbox></object></annotation>"""


def _pictures() -> tuple[bytes, ...]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    kinds = (
        *((colour, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")),
        *((colour.convert("L").convert(mode), "PNG") for mode in ("1", "L", "P", "I;16")),
        *((colour.convert("L").convert(mode), "TIFF") for mode in ("F", "I")),
        (colour.convert("RGBA"), "PNG"),
    )
    files = []
    for picture, kind in kinds:
        content = io.BytesIO()
        picture.save(content, kind)
        files.append(content.getvalue())
    return tuple(files)


def _shards() -> tuple[bytes, ...]:
    import tarfile

    photo = _pictures()[0]
    files = []
    for layout in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=layout) as tar:
            for name, data in {
                "001.png": photo,
                "001.cls": b"7",
                "größe/002.png": photo,
                "long" * 30 + "/3.png": photo,
                "long" * 30 + "/3.cls": b"12",
            }.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        # One block of zeros is an end; ten would be most of the file.
        files.append(content.getvalue().rstrip(b"\0").ljust(content.tell(), b"\0"))
    return tuple(files)


def _read_shard(path: Path) -> None:
    shards = TarShards([path])
    for index in range(min(4, len(shards))):
        assert shards.key(index) and shards.name(index)
        for read in (shards.label, shards.read):
            # An unreadable photo is left out by those who read shards; the next one counts too.
            with contextlib.suppress(TtameError):
                read(index)


def _read_list(path: Path) -> None:
    for name in ("001.png", "my cat.png"):
        if not (path.parent / name).exists():
            (path.parent / name).write_bytes(_pictures()[0])
    photos = ImageList(path)
    for index in range(min(4, len(photos))):
        assert photos.key(index) and photos.name(index)
        assert (photos.label(index) or 0) < 10**18


_REVIEWS = b"".join(
    json.dumps(review).encode() + b"\n"
    for review in (
        {
            "id": "neg_1",
            "label": "neg",
            "tokens": "not a fine film",
            "rationales": [[0, 1], [2, 3]],
        },
        {"id": 2, "label": 1, "tokens": "größte Kunst", "rationales": []},
        {"tokens": "asked nobody", "rationales": None},
    )
)


def _read_reviews(path: Path) -> None:
    texts = AnnotatedTexts(path)
    assert len(texts.fingerprint()) == 16
    for index in range(min(4, len(texts))):
        marked = texts[index].marked_words()
        assert marked is None or len(marked) == texts[index].number_of_words > 0
        assert texts[index].key and isinstance(texts[index].label, str | int | None)


def _explanations() -> tuple[bytes, ...]:
    explanation = Explanation(
        maps=torch.rand(1, 2, 3, 3),
        classes=torch.tensor([[2, 0]]),
        logits=torch.tensor([[0.0, 1.0, 2.0]]),
        image_size=(4, 6),
        class_names=("ant", "bee", "cat"),
        method="t_tame",
        provenance={"classifier": "tiny", "taps": ["a"], "rate": 0.5},
    )
    nameless = dataclasses.replace(explanation, class_names=())
    return tuple(_written(made.save) for made in (explanation, nameless))


def _read_explanation(path: Path) -> None:
    explanation = Explanation.load(path)
    assert explanation.heatmaps((8, 8)).shape[-1] == 8
    assert explanation.class_probabilities.shape == explanation.has_evidence.shape
    assert [explanation.class_label(index) for index in explanation.classes[0].tolist()]
    assert len(explanation.image_size) == 2 and explanation.heatmaps((2, 2)).numel()
    assert repr(explanation) and explanation.method.strip() is not None


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def _weights() -> tuple[bytes, ...]:
    from safetensors.torch import save

    return save(_network().state_dict()), save(_network().half().state_dict(), {"format": "pt"})


def _torch_weights() -> tuple[bytes, ...]:
    state = _network().state_dict()
    return tuple(
        _written(functools.partial(torch.save, content, _use_new_zipfile_serialization=new))
        for content in (dict(state), {"state_dict": dict(state), "epoch": 3})
        for new in (True, False)
    )


def _read_torch_weights(path: Path) -> None:
    load_weights(_network(), read_network_weights(path).tensors, "weights")


_TIMM_CONFIGURATION = {
    "architecture": "test_resnet",
    "num_classes": 3,
    "model_args": {"drop_rate": 0.1},
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "crop_pct": 0.9},
}


def _read_timm_configuration(path: Path) -> None:
    opened = open_place(f"local-dir:{path.parent}", with_weights=False)
    check_timm_configuration(opened.described, "theirs", ["test_resnet", "resnet18"])


def _read_class_names(path: Path) -> None:
    names = read_class_names(path)
    assert all(name.strip() for name in names)
    if names:
        assert 0 <= class_index(names[0], tuple(names), len(names)) < len(names)


_LOG = b"".join(
    b'{"step": %d, "epoch": 0, "total": 0.5, "lr": 0.1}\n' % step for step in range(1, 5)
)


def _read_log(path: Path) -> None:
    with TrainingLog(path, keep_steps=2) as log:
        log.write({"step": 3})


def _read_weights(path: Path) -> None:
    load_weights(_network(), read_weights(path), "weights")


@functools.cache
def _settings(optimiser: str) -> TrainingSettings:
    return TrainingSettings().changed(optimiser=optimiser)


def _checkpoints() -> tuple[bytes, ...]:
    files = []
    for name in ("sgd", "adamw"):
        head = nn.Linear(3, 2)
        optimiser = make_optimiser(head, _settings(name).optimiser)
        schedule = make_schedule(optimiser, _settings(name).optimiser, 10)
        head(torch.ones(1, 3)).sum().backward()
        optimiser.step()
        schedule.step()
        write = functools.partial(
            save_checkpoint,
            step=1,
            identity=_identity(name),
            head=head,
            optimiser=optimiser,
            schedule=schedule,
            validation=[{"epoch": 1, "loss": 0.5}],
            skipped={"a.png": "torn"},
            scaler={},
            workforce=Workforce.of(1, torch.device("cpu")),
        )
        files.append(_written(write))
    return tuple(files)


def _identity(optimiser: str) -> RunIdentity:
    preprocessing = {"mean": [0.5], "size": 16}
    return RunIdentity(_settings(optimiser).as_json(), "d" * 8, "c" * 8, ("a", "b"), preprocessing)


def _read_checkpoint(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    workforce = Workforce.of(1, torch.device("cpu"))
    assert workforce.going_on_for(checkpoint.workforce or workforce).isprintable()
    assert all(isinstance(note, str) for note in checkpoint.notes)
    name = flat_settings(checkpoint.identity.settings).get("optimiser")
    name = name if name in ("sgd", "adamw") else "sgd"
    _identity(name).refuse_other(checkpoint.identity)
    head = nn.Linear(3, 2)
    optimiser = make_optimiser(head, _settings(name).optimiser)
    schedule = make_schedule(optimiser, _settings(name).optimiser, 10)
    checkpoint.restore(head, optimiser, schedule)
    head(torch.ones(1, 3)).sum().backward()
    optimiser.step()


def _results() -> tuple[bytes, ...]:
    score = Score(31.0, 27.9, 34.2, 1, 1.0, 200)
    method = MethodScores(
        name="grad_cam",
        title="Grad-CAM",
        family="class activation",
        scores={"average_drop@50": score},
        curves={"deletion": (CurvePoint(0.0, 0.9, 0.8, 1.0), CurvePoint(50.0, 0.2, 0.1, 0.3))},
        cost=MethodCost(1, 1, 0, 40.0, 80.0),
        options={"layer": "a", "relu": True},
        published={"average_drop@50": 30.0},
        no_evidence=1,
        sanity=RandomisationScore(0.04, ((1, 0.31), (2, 0.04)), True),
    )
    column = ColumnFacts("average_drop@50", "AD", "average_drop", "lower", "%", "a", "b")
    evaluation = Evaluation(
        classifier="tiny",
        classifier_fingerprint="c",
        data="photos",
        data_fingerprint="d",
        images=200,
        skipped=(("a.png", "torn"),),
        protocol="t-tame",
        protocol_hash="e",
        protocol_settings={"seed": 0},
        protocol_words=(("what", "how"),),
        columns=(column,),
        methods=(method, dataclasses.replace(method, sanity=None)),
        left_out={"cam": "why"},
        notes=("a note",),
        machine="a processor",
        date="2026-01-01",
    )
    return (evaluation.to_json().encode(),)


def _read_results(path: Path) -> None:
    evaluation = Evaluation.load(path)
    again = Evaluation.from_json(evaluation.to_json())
    assert again.images == evaluation.images
    for method in evaluation.methods:
        for score in method.scores.values():
            assert f"{score.value:.2f} {score.rank:d}"
        for curve in method.curves.values():
            assert all(f"{point.x:.2f}" for point in curve)


_RUN = {
    "classifier": "tiny",
    "classifier_fingerprint": "c" * 64,
    "data": "d",
    "images": 10,
    "preprocessing": {"mean": [0.5, 0.5], "size": 16},
    "protocol": "e",
    "batch_size": 8,
    "metrics": ["average_drop", "deletion"],
    "annotations": None,
}
_METHODS = {"grad_cam": {"title": "Grad-CAM", "family": "cam", "provenance": {"layer": "a"}}}
_SANITY = {"grad_cam": {"images": 8, "similarity": 0.1, "steps": [[1, 0.5]], "passed": True}}


def _read_methods(path: Path) -> None:
    assert all(facts.title is not None for facts in known_methods(path.parent).values())
    note_methods(path.parent, {"grad_cam": MethodFacts("Grad-CAM", "cam", {"layer": "b"})})


def _rows() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        values = {"insertion": np.array([0.1, 0.2]), "deletion": np.array([0.3, np.nan])}
        facts = BatchFacts(2, 5.0, False, 1, 0, 0, None, (("c.png", "torn"),))
        RowStore(Path(folder)).write("m", 0, [0, 1], ["a.png", "b.png"], [3, 4], values, facts)
        return ((Path(folder) / "rows" / "m" / "000000.parquet").read_bytes(),)


def _read_rows(path: Path) -> None:
    store = RowStore(path.parents[2])
    assert store.finished("m") == {0}
    images, classes, values = store.values("m")
    assert all(len(column) == len(images) == len(classes) for column in values.values())
    assert all(f"{number:d} {name}" for number, name in store.photos("m").items())
    assert all(f"{fact.images:d} {fact.milliseconds:.1f}" for fact in store.facts("m"))
    assert store.join(["m"]).is_file()


def _maps() -> tuple[bytes, ...]:
    from safetensors.torch import save

    return (save({"maps": torch.rand(2, 3, 3).half(), "images": torch.tensor([4, 6])}),)


def _read_maps(path: Path) -> None:
    for _, heights in kept_maps(path.parents[2], "m", [4, 6]):
        assert heights.ndim == 2 and heights.max() <= 1


def _read_upload(path: Path) -> None:
    with _refused_as_error():
        read_uploaded_photo(path.read_bytes(), ServingSettings())


def _read_tensor(path: Path) -> None:
    with _refused_as_error():
        read_uploaded_tensor(path.read_bytes(), (3, 4, 5))


def _read_mask_of_input(path: Path) -> None:
    with _refused_as_error():
        read_uploaded_mask(path.read_bytes(), (4, 5))


@contextlib.contextmanager
def _refused_as_error() -> Iterator[None]:
    """A refusal of the server as an error of ttame, if it is one of the 400s."""
    try:
        yield
    except Problem as problem:
        if not 400 <= problem.status < 500:
            raise
        raise TtameError(problem.detail) from problem


def _tensors() -> tuple[bytes, ...]:
    from safetensors.torch import save

    return (save({"images": torch.ones(1, 3, 4, 5)}),)


def _masks_of_input() -> tuple[bytes, ...]:
    stream = io.BytesIO()
    Image.new("L", (5, 4), 255).save(stream, "PNG")
    return (stream.getvalue(),)


PARSERS: Mapping[str, FileParser] = {
    "coco": FileParser(
        "boxes.json", _coco, lambda path: _read_all(CocoAnnotations(path)), mutate_json
    ),
    "voc": FileParser(
        "voc/tom.xml",
        lambda: (_VOC,),
        lambda path: _read_all(VocAnnotations(path.parent)),
        mutate_xml,
    ),
    "mask": FileParser("tom.png", _pictures, read_mask, mutate_bytes),
    "photo": FileParser("tom.img", _pictures, read_photo, mutate_bytes),
    "array": FileParser("field.npy", band_pictures.arrays, band_pictures.read_bands, mutate_bytes),
    "bands": FileParser("field.tif", band_pictures.tiffs, band_pictures.read_bands, mutate_bytes),
    "upload": FileParser("upload", _pictures, _read_upload, mutate_bytes),
    "uploaded tensor": FileParser("upload", _tensors, _read_tensor, mutate_safetensors),
    "uploaded mask": FileParser("upload", _masks_of_input, _read_mask_of_input, mutate_bytes),
    "list": FileParser(
        "list.txt",
        lambda: (b"001.png 3\n# no\nmy cat.png\nmy cat.png 281\n",),
        _read_list,
        mutate_lines,
    ),
    "annotated texts": FileParser(
        "reviews.jsonl",
        lambda: (_REVIEWS, gzip.compress(_REVIEWS, mtime=0)),
        _read_reviews,
        report_files.mutate_records,
    ),
    "shard": FileParser("a.tar", _shards, _read_shard, mutate_tar),
    "explanation": FileParser(
        "a.safetensors", _explanations, _read_explanation, mutate_safetensors
    ),
    "text explanation": FileParser(
        "a.safetensors",
        text_files.explanations,
        text_files.read_explanation,
        mutate_safetensors,
    ),
    "explanations of texts": FileParser(
        "why/explanations.json",
        text_files.contents,
        text_files.read_contents,
        report_files.mutate_records,
    ),
    "texts": FileParser("pairs.tsv", text_files.lines, text_files.read_lines, mutate_lines),
    "objects of texts": FileParser(
        "texts.jsonl", text_files.objects, text_files.read_lines, report_files.mutate_records
    ),
    "explainer config": FileParser(
        "explainer/config.json",
        explainer_folders.configurations,
        explainer_folders.read_explainer,
        mutate_json,
    ),
    "explainer weights": FileParser(
        "explainer/explainer.safetensors",
        explainer_folders.weights,
        explainer_folders.read_explainer,
        mutate_safetensors,
    ),
    "weights": FileParser("w.safetensors", _weights, _read_weights, mutate_safetensors),
    "torch weights": FileParser("w.pth", _torch_weights, _read_torch_weights, mutate_bytes),
    "timm configuration": FileParser(
        "network/config.json",
        lambda: _json(_TIMM_CONFIGURATION),
        _read_timm_configuration,
        mutate_json,
    ),
    "class names": FileParser(
        "names.txt",
        lambda: ("tench\ngoldfish\nStörche, Reiher\n".encode(),),
        _read_class_names,
        mutate_lines,
    ),
    "checkpoint": FileParser(
        "checkpoint.safetensors", _checkpoints, _read_checkpoint, mutate_safetensors
    ),
    "training log": FileParser(
        "training.jsonl", lambda: (_LOG,), _read_log, report_files.mutate_records
    ),
    "explanations": FileParser(
        "why/explanations.json",
        lambda: (report_files.report_files()["explanations.json"],),
        report_files.read_explanations,
        report_files.mutate_records,
    ),
    "batches": FileParser(
        "unfinished/batches/000000.jsonl",
        lambda: (report_files.report_files()["batch"],),
        report_files.read_batches,
        report_files.mutate_records,
    ),
    "explaining": FileParser(
        ".out.ttame-unfinish.part/explaining.json",
        lambda: (report_files.report_files()["explaining.json"],),
        report_files.read_identity,
        mutate_json,
    ),
    "shards manifest": FileParser(
        "out/explanations_manifest.json",
        lambda: (shard_files.shard_files()["explanations_manifest.json"],),
        shard_files.read_manifest_or_index,
        mutate_json,
    ),
    "shards index": FileParser(
        "out/explanations_index.json",
        lambda: (shard_files.shard_files()["explanations_index.json"],),
        shard_files.read_manifest_or_index,
        report_files.mutate_records,
    ),
    "shard of explanations": FileParser(
        "out/shards/000000.parquet",
        lambda: (shard_files.shard_files()["shard"],),
        shard_files.read_shard,
        mutate_parquet,
    ),
    "batch of a shard": FileParser(
        "place/batches/000000.parquet",
        lambda: (shard_files.shard_files()["batch"],),
        shard_files.read_batch,
        mutate_parquet,
    ),
    "finished shard": FileParser(
        "place/finished/000000.json",
        lambda: (shard_files.shard_files()["finished"],),
        shard_files.read_finished,
        mutate_json,
    ),
    "results": FileParser("results.json", _results, _read_results, mutate_json),
    "evaluation": FileParser(
        "run/evaluation.json",
        lambda: _json(_RUN),
        lambda path: check_identity(path.parent, _RUN, resume=True),
        mutate_json,
    ),
    "methods": FileParser("run/methods.json", lambda: _json(_METHODS), _read_methods, mutate_json),
    "sanity": FileParser(
        "run/sanity.json",
        lambda: _json(_SANITY),
        lambda path: sanity_scores(path.parent),
        mutate_json,
    ),
    "rows": FileParser("run/rows/m/000000.parquet", _rows, _read_rows, mutate_parquet),
    "exported": FileParser(
        "why.onnx",
        exported_files.exported_files,
        exported_files.read_exported,
        exported_files.mutate_exported,
    ),
    "maps": FileParser("run/maps/m/000000.safetensors", _maps, _read_maps, mutate_safetensors),
}
