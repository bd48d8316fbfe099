from __future__ import annotations

import math

import torch

from tests.conftest import assert_close
from ttame.explainers.trained.class_rows import rows_in_common, with_what_is_there


def test_the_mean_row_and_the_spread_of_all_entries() -> None:
    mean, spread = rows_in_common(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert mean.tolist() == [2.0, 4.0]
    assert math.isclose(float(spread), math.sqrt((4 + 1 + 0 + 9) / 4), rel_tol=1e-6)


def test_classes_next_to_what_each_image_has_of_them() -> None:
    evidence = torch.tensor([[[[1.0, 3.0]], [[4.0, 4.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    found = with_what_is_there(torch.tensor([[2.0, -1.0]]), evidence)
    # The means are 2 and 4, their deviation 1; an image of zeros has nothing of anything.
    assert_close(found, torch.tensor([[[2.0, -1.0, 4.0, -4.0]], [[2.0, -1.0, 0.0, 0.0]]]), 1e-6)
