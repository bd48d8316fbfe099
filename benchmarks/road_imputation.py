"""What ROAD's imputation costs beside a general sparse solver, and how far apart the two are.

    python -m benchmarks.road_imputation

The reference builds the same equations as a SciPy matrix and solves them with SuperLU, one image
at a time, as the published code does. Masks are random pixels, and the top and bottom of maps that
were resized from 7x7, as saliency maps are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.benchmark_page import (
    interleaved_seconds,
    median,
    median_ratio,
    table,
    write_section,
)
from ttame.metrics.linear_imputation import impute_linearly
from ttame.metrics.pixel_ranking import most_relevant_first, removed_pixels

SIZE, IMAGES, REPEATS = (224, 224), 8, 5
SHARES = (0.1, 0.5, 0.9)
NEIGHBOURS = [offset for offset in itertools.product((-1, 0, 1), repeat=2) if offset != (0, 0)]


def main() -> None:
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    pixels = smooth_pictures(generator)
    rows = [
        measured(kind, share, pixels, removed)
        for kind, ranking in rankings(generator)
        for share in SHARES
        for removed in [removed_pixels(ranking, share, SIZE)]
    ]
    header = ["removed pixels", "share", "SciPy", "ttame", "SciPy / ttame", "largest difference"]
    note = (
        f"\n\nMilliseconds per image, {IMAGES} images of {SIZE[0]}x{SIZE[1]} in one call, medians "
        f"over {REPEATS} rounds in turns, two threads (SciPy's solver has one). Both times hold "
        "building the equations and solving them for three colours. The difference is of pixels "
        "in [0, 1]. The published solve, as it was measured for this project's specification: 80 "
        "ms with 10 % removed, 200 ms with 50 %, 490 ms with 90 %; a tenth is the bar."
    )
    body = table(header, rows) + note
    write_section(
        "road-imputation", "ROAD's imputation", "python -m benchmarks.road_imputation", body
    )


def measured(kind: str, share: float, pixels: Tensor, removed: Tensor) -> list[str]:
    """One row of the table."""
    pixels_of_one, removed_of_one = pixels[0], removed[0]
    seconds = interleaved_seconds(
        {
            "scipy": lambda: solved_by_scipy(pixels_of_one, removed_of_one),
            "ttame": lambda: impute_linearly(pixels, removed),
        },
        REPEATS,
        warm_up=1,
    )
    ours = [second / len(pixels) for second in seconds["ttame"]]
    difference = (
        (impute_linearly(pixels, removed)[0] - solved_by_scipy(pixels_of_one, removed_of_one))
        .abs()
        .max()
    )
    return [
        kind,
        f"{share:.0%}",
        f"{1000 * median(seconds['scipy']):.0f}",
        f"{1000 * median(ours):.1f}",
        f"{median_ratio(seconds['scipy'], ours):.1f}",
        f"{float(difference):.0e}",
    ]


def smooth_pictures(generator: torch.Generator) -> Tensor:
    """(B, 3, H, W) in [0, 1], structure of several sizes."""
    total = torch.zeros(IMAGES, 3, *SIZE)
    for side in (4, 16, 64, 224):
        noise = torch.rand(IMAGES, 3, side, side, generator=generator)
        total += F.interpolate(noise, size=SIZE, mode="bilinear") / 4
    return total


def upsampled_maps(generator: torch.Generator) -> Tensor:
    coarse = torch.rand(IMAGES, 1, 7, 7, generator=generator)
    return F.interpolate(coarse, size=SIZE, mode="bilinear")[:, 0]


def rankings(generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    maps = most_relevant_first(upsampled_maps(generator))
    yield "most relevant", maps
    yield "least relevant", maps.flip(1)
    yield "random", most_relevant_first(torch.rand(IMAGES, *SIZE, generator=generator))


def solved_by_scipy(pixels: Tensor, removed: Tensor) -> Tensor:
    """The exact solution: (C, H, W) and (H, W) to (C, H, W) float64."""
    values, mask = pixels.double().numpy(), removed.numpy()
    rows, columns = np.nonzero(mask)
    number = np.full(mask.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    diagonal = np.zeros(len(rows))
    right_side = np.zeros((len(rows), len(values)))
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for down, right in NEIGHBOURS:
        weight = 1 / 6 if 0 in (down, right) else 1 / 12
        row, column = rows + down, columns + right
        inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
        diagonal += weight * inside
        equation, row, column = np.nonzero(inside)[0], row[inside], column[inside]
        unknown = mask[row, column]
        right_side[equation[~unknown]] += weight * values[:, row[~unknown], column[~unknown]].T
        neighbour = number[row[unknown], column[unknown]]
        entries.append((equation[unknown], neighbour, np.full(len(neighbour), -weight)))
    entries.append((np.arange(len(rows)), np.arange(len(rows)), diagonal))
    equations, unknowns, coefficients = (
        np.concatenate(part) for part in zip(*entries, strict=True)
    )
    matrix = scipy.sparse.csc_matrix((coefficients, (equations, unknowns)))
    imputed = values.copy()
    imputed[:, rows, columns] = scipy.sparse.linalg.spsolve(matrix, right_side).T
    return torch.from_numpy(imputed)


if __name__ == "__main__":
    main()
