"""Other channels and outputs of every kind: compared with slow formulas on plain logits."""

from __future__ import annotations

import pytest

from scripts.docs.situations import Situation
from scripts.docs.situations_of_outputs import INS_AND_OUTS
from tests.scripts.docs.test_situations import compare, refuse


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("situation", INS_AND_OUTS, ids=lambda each: each.title)
def test_what_goes_in_and_comes_out(situation: Situation) -> None:
    (compare if situation.works else refuse)(situation)
