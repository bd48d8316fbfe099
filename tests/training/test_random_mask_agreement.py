"""Maps against what random masks leave of the class: the formula, the draws, and trainings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.training.training_material import (
    log_of,
    noise_photos,
    quick,
    tiny_cnn,
    train,
    weights_of,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import TrainingError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.images.map_details import with_details
from ttame.training.batch_loss import BatchPlace, batch_loss
from ttame.training.objective import ObjectiveBatch
from ttame.training.random_mask_agreement import (
    disagreement,
    drawn_masks,
    random_mask_disagreement,
)
from ttame.training.training_progress import TrainingProgress


def slowly(maps: Tensor, masks: Tensor, left: Tensor) -> float:
    """One image at a time, with the residuals of a least-squares fit of ones and shares."""
    losses = []
    for map_, of_image, y in zip(maps.double(), masks.double(), left.double(), strict=True):
        u = torch.tensor([sum((mask * map_).flatten().tolist()) for mask in of_image]).double()
        shares = torch.stack([mask.mean() for mask in of_image])
        design = torch.stack([torch.ones_like(shares), shares], dim=1)

        def residual(values: Tensor, design: Tensor = design) -> Tensor:
            fit = torch.linalg.lstsq(design, values[:, None]).solution
            return values - (design @ fit)[:, 0]

        pair = torch.stack([residual(y), residual(u)])
        losses.append(1 - float(torch.corrcoef(pair)[0, 1]))
    return sum(losses) / len(losses)


class Asked:
    """A batch whose classifier adds up what its places give, and counts how often it is asked."""

    def __init__(self, gives: Tensor, first_image: int = 0, seed: int = 3) -> None:
        self.gives, self.asked = gives, 0
        self.seen: list[Tensor] = []
        images, size = len(gives), (int(gives.shape[2]), int(gives.shape[3]))

        def behind(masks: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            self.asked += 1
            self.seen.append(masks)
            p = (masks * gives).sum(dim=(1, 2, 3))
            return torch.stack([1 - p, p], dim=1)

        whole = gives.sum(dim=(1, 2, 3))
        self.batch = ObjectiveBatch(
            classifier=_Probabilities(),  # type: ignore[arg-type]
            scores=torch.stack([1 - whole, whole], dim=1),
            labels=torch.ones(images, dtype=torch.long),
            maps=_never,
            masked_scores=_never,
            labels_of_all=lambda: torch.ones(images, dtype=torch.long),
            first_image=first_image,
            generator=torch.Generator().manual_seed(seed),
            image_size=size,
            one_ground=lambda: behind,
        )


class _Probabilities:
    name, kind = "adds up", "images"

    class outputs:  # noqa: N801 - stands for an attribute
        probabilities = staticmethod(lambda scores: scores)


def _never(*_: Any) -> Any:
    raise AssertionError("not asked for")


def gives(images: int, rows: int = 12, columns: int = 16) -> Tensor:
    """Whose sum over the places is 0.8."""
    drawn = torch.rand(images, 1, rows, columns, generator=torch.Generator().manual_seed(1))
    return 0.8 * drawn / drawn.sum(dim=(2, 3), keepdim=True)


ONE = torch.ones(3, 1, dtype=torch.long)


# The formula


def test_it_is_one_less_the_correlation_of_the_residuals() -> None:
    maps, left = 3 * torch.randn(3, 4, 5) + 7, torch.rand(3, 9)
    masks = (torch.rand(3, 9, 4, 5) < torch.linspace(0.2, 0.8, 9)[:, None, None]).float()
    assert float(disagreement(maps, masks, left)) == pytest.approx(
        slowly(maps, masks, left), abs=1e-4
    )


def test_what_places_give_is_the_best_map() -> None:
    asked = Asked(gives(3))
    best = random_mask_disagreement(asked.batch, ONE, 5 * asked.gives - 2, 24)
    assert float(best) == pytest.approx(0, abs=1e-4)
    other = random_mask_disagreement(asked.batch, ONE, gives(3).flip(3), 24)
    assert 0.5 < float(other) < 1.5
    worst = random_mask_disagreement(asked.batch, ONE, -asked.gives, 24)
    assert float(worst) == pytest.approx(2, abs=1e-4)


def test_gradient_descent_on_a_map_finds_what_places_give() -> None:
    """Masks of the whole map's blobs tell its cells apart, once there are more masks than cells."""
    places = gives(1, 4, 4)
    maps = torch.zeros(1, 1, 4, 4) + 0.01 * torch.rand(1, 1, 4, 4)
    maps.requires_grad_()
    optimiser = torch.optim.Adam([maps], lr=0.05)
    for step in range(60):
        loss = random_mask_disagreement(Asked(places, seed=step).batch, ONE[:1], maps, 32)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pair = torch.stack([maps.detach().flatten(), places.flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9


def test_masks_that_all_leave_the_same_teach_nothing() -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 3, requires_grad=True)
    masks = (torch.rand(2, 8, 3, 3) < 0.5).float()
    for flat in (maps, torch.zeros(2, 3, 3, requires_grad=True)):
        loss = disagreement(flat, masks, torch.full((2, 8), 0.3))
        assert float(loss.detach()) == pytest.approx(1, abs=1e-3)
        (gradient,) = torch.autograd.grad(loss, flat)
        assert float(gradient.abs().max()) < 0.01
    flat = torch.zeros(2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(disagreement(flat, masks, torch.rand(2, 8)), flat)
    assert float(gradient.abs().max()) < 1e6


def test_a_class_that_is_hardly_there_is_bounded() -> None:
    asked = Asked(gives(3))
    asked.batch.scores[0] = torch.tensor([1.0, 0.0])
    asked.batch.scores[1] = torch.tensor([1.0, 1e-6])
    found = random_mask_disagreement(asked.batch, ONE, asked.gives, 8)
    assert 0 <= float(found) <= 2


# The draws


def test_masks_are_zeros_and_ones_of_shares_spread_evenly() -> None:
    drawn = torch.stack([*drawn_masks(Asked(gives(6, 48, 56)).batch, 20)], dim=1)
    assert drawn.shape == (6, 20, 1, 48, 56)
    assert set(drawn.flatten().tolist()) == {0.0, 1.0}
    shares = drawn.mean(dim=(2, 3, 4))
    strata = ((shares.sort(dim=1).values - 0.05) / 0.85 * 20 + 0.02).floor()
    assert bool(((strata - torch.arange(20)).abs() <= 1).all())
    assert not torch.equal(shares.argsort(dim=1)[0], shares.argsort(dim=1)[1])


def test_masks_are_blobs_of_two_sizes() -> None:
    """An edge is where a pixel differs from its neighbour: finer noise has more of them."""
    drawn = torch.stack([*drawn_masks(Asked(gives(8, 112, 112)).batch, 40)], dim=1)
    edges = (drawn[..., 1:] != drawn[..., :-1]).float().mean(dim=(0, 2, 3, 4))
    coarse, fine = edges[0::2].mean(), edges[1::2].mean()
    assert 1.3 < float(fine / coarse) < 1.9
    assert float(fine) < 0.1


@pytest.mark.parametrize("shares", [(1, 5), (4, 2), (6,)], ids=str)
def test_masks_do_not_depend_on_who_makes_them(shares: tuple[int, ...]) -> None:
    places = gives(6)
    expected = torch.stack([*drawn_masks(Asked(places).batch, 5)])
    first = 0
    for share in shares:
        own = Asked(places[first : first + share], first_image=first)
        found = torch.stack([*drawn_masks(own.batch, 5)])
        assert torch.equal(found, expected[:, first : first + share])
        first += share
    assert not torch.equal(torch.stack([*drawn_masks(Asked(places, seed=4).batch, 5)]), expected)


# The classifier


def test_the_classifier_is_asked_without_a_gradient_and_on_one_ground() -> None:
    classifier = tiny_cnn()
    explainer = new_attention_explainer(classifier, quick("few-shot-quick").head, method="few_shot")
    images = classifier.prepare(noise_photos(4))
    settings = quick(
        "few-shot-quick", masked="grounds", grounds="black,noise", random_masks=6, consistency=0.1
    )
    backward, seen, passes = [], [], 0

    def watch(module: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal passes
        passes += 1
        if not torch.is_grad_enabled():
            seen.append(given[0].detach().clone())
        else:
            output.register_hook(lambda gradient: backward.append(gradient.shape))

    place = BatchPlace(torch.Generator().manual_seed(0))
    with explainer.classifier.frozen():
        handle = explainer.classifier.network.register_forward_hook(watch)
        loss = batch_loss(explainer.classifier, explainer.head, images, settings.objective, place)
        parts = loss.parts.weighted
        assert [*parts] == ["drop", "consistency", "random_masks"]
        parts["random_masks"].backward()
        assert not backward
        handle.remove()
    # Whole, behind the map's own mask, moved, and behind six random masks.
    assert passes == 3 + 6
    masked = torch.stack(seen[2:])
    hidden = (masked - images).abs() > 1e-4
    assert bool(hidden.any(dim=0).any(dim=1).float().mean() > 0.5)
    for one in range(6):
        for other in range(one):
            both = (hidden[one] & hidden[other]).all(dim=1, keepdim=True).expand_as(images)
            assert torch.equal(masked[one][both], masked[other][both])
    gradients = [p.grad for p in explainer.head.parameters() if p.grad is not None]
    assert any(bool(gradient.any()) for gradient in gradients)
    assert all(p.grad is None for p in explainer.classifier.network.parameters())


def test_maps_are_compared_with_the_details_that_are_shown() -> None:
    asked = Asked(gives(3, 8, 8))
    maps = torch.randn(3, 1, 8, 8)
    batch = dataclasses.replace(asked.batch, shown=lambda given: with_details(given, 0.3))
    found = random_mask_disagreement(batch, ONE, maps, 12)
    expected = random_mask_disagreement(asked.batch, ONE, with_details(maps, 0.3), 12)
    assert_close(found, expected, 1e-5)
    assert not torch.allclose(random_mask_disagreement(asked.batch, ONE, maps, 12), expected)


def test_odds_of_a_sum_of_what_words_give_are_explained_by_it() -> None:
    """Where probabilities are all near 1, and a ratio would hardly see a word that is missing."""
    words = torch.randn(2, 1, 1, 30, generator=torch.Generator().manual_seed(2))
    asked = Asked(words)
    logits = lambda masks: 7 + (masks * words).sum(dim=(1, 2, 3))  # noqa: E731

    def behind(masks: Tensor) -> Tensor:
        p = logits(masks).sigmoid()
        return torch.stack([1 - p, p], dim=1)

    places = torch.ones(2, 1, 1, 30, dtype=torch.bool)
    batch = dataclasses.replace(asked.batch, one_ground=lambda: behind, places=places)
    by_odds = random_mask_disagreement(batch, ONE[:2], words, 20, "log-odds")
    assert float(by_odds) == pytest.approx(0, abs=1e-3)
    assert float(random_mask_disagreement(batch, ONE[:2], words, 20)) > 0.02


# Texts


def texts(lengths: tuple[int, ...], padded: int, first: int = 0) -> ObjectiveBatch:
    """Texts whose first and last token no mask may hide."""
    places = torch.zeros(len(lengths), 1, 1, padded, dtype=torch.bool)
    for row, length in zip(places, lengths, strict=True):
        row[..., 1 : length - 1] = True
    asked = Asked(torch.rand(len(lengths), 1, 1, padded), first_image=first)
    return dataclasses.replace(asked.batch, places=places)


def test_masks_of_texts_keep_shares_of_their_own_tokens() -> None:
    batch = texts((102, 22), 120)
    drawn = torch.stack([*drawn_masks(batch, 20)], dim=1)[:, :, 0, 0]
    assert drawn.shape == (2, 20, 120)
    for masks, places, slack in zip(drawn, batch.places[:, 0, 0], (0.02, 0.1), strict=True):
        assert bool((masks[:, ~places] == 1).all())
        assert set(masks[:, places].flatten().tolist()) == {0.0, 1.0}
        shares = masks[0::2, places].mean(dim=1).sort().values
        assert float(shares[0]) < 0.05 + 0.0425 * 2 + slack
        assert float(shares[-1]) > 0.9 - 0.0425 * 4 - slack


def test_masks_of_texts_hide_single_tokens_and_runs_of_three() -> None:
    drawn = torch.stack([*drawn_masks(texts((300,), 300), 40)], dim=1)[0, :, 0, 0, 1:-1]
    changes = (drawn[:, 1:] != drawn[:, :-1]).float().mean(dim=1)
    assert 2 < float(changes[0::2].mean() / changes[1::2].mean()) < 4
    for mask in drawn[1::2]:
        ends = (mask[1:] != mask[:-1]).nonzero().flatten()
        assert len(set((ends % 3).tolist())) == 1


def test_masks_of_texts_do_not_depend_on_padding_or_company() -> None:
    expected = torch.stack([*drawn_masks(texts((40, 12, 25), 40), 6)])
    alone = torch.stack([*drawn_masks(texts((12, 25), 31, first=1), 6)])
    assert torch.equal(alone, expected[:, 1:, ..., :31])
    assert not torch.equal(alone[:, 0, ..., :12], alone[:, 1, ..., :12])


@pytest.mark.parametrize("masks", [-1, 1, 3])
def test_a_correlation_needs_four_masks(masks: int) -> None:
    with pytest.raises(TrainingError, match="0, or 4 and more"):
        quick("few-shot-quick", random_masks=masks)


# Trainings


def lines(folder: Path, name: str) -> list[float]:
    return [line[name] for line in log_of(folder) if name in line]


def test_training_makes_the_maps_agree_with_the_masks(tmp_path: Path) -> None:
    settings = quick("few-shot-quick", epochs=6, learning_rate=0.02, random_masks=16, contrast=True)
    explainer = train(tiny_cnn(), noise_photos(23), tmp_path / "out", settings)
    assert len(lines(tmp_path / "out", "random_masks")) == 6 * 5
    held_out = [figures["random_masks"] for figures in explainer.training_record["validation"]]
    assert held_out[-1] < held_out[0] - 0.08


def test_the_other_masks_are_those_of_a_training_without(tmp_path: Path) -> None:
    for masks in (0, 4):
        settings = quick("few-shot-quick", epochs=1, random_masks=masks)
        train(tiny_cnn(), noise_photos(9), tmp_path / str(masks), settings)
    without, with_them = (log_of(tmp_path / name)[0] for name in ("0", "4"))
    assert with_them["drop"] == without["drop"]
    assert with_them["loss"] == pytest.approx(with_them["drop"] + with_them["random_masks"])


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_an_interrupted_run_is_resumed_bit_for_bit(precision: str, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise StoppedError

    settings = quick(
        "few-shot", epochs=1, checkpoint_every=2, random_masks=4,
        mixed_precision=precision,
    )  # fmt: skip
    photos, dtypes = noise_photos(23), set()

    def classifier() -> Classifier:
        made = tiny_cnn()
        made.network[0].register_forward_hook(lambda *seen: dtypes.add(seen[-1].dtype))
        return made

    train(classifier(), photos, tmp_path / "whole", settings)
    with pytest.raises(StoppedError):
        train(tiny_cnn(), photos, tmp_path / "two", settings, watch=stop)
    train(tiny_cnn(), photos, tmp_path / "two", settings, resume=True)
    expected, found = weights_of(tmp_path / "whole"), weights_of(tmp_path / "two")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert log_of(tmp_path / "two") == log_of(tmp_path / "whole")
    assert (torch.bfloat16 in dtypes) == (precision == "bf16")


def test_a_text_without_places_or_with_one_stays_whole() -> None:
    drawn = torch.stack([*drawn_masks(texts((2, 3, 9), 9), 6)], dim=1)
    assert bool((drawn[:2] == 1).all())
    assert bool((drawn[2] == 0).any())
