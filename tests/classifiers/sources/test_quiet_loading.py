from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from transformers.utils import logging as theirs

from ttame.classifiers.sources.quiet_loading import loading_quietly
from ttame.errors import WeightsError
from ttame.testing import tiny_text_classifier
from ttame.text_classifiers.sequence_classifiers import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny = tiny_text_classifier()
    tiny.network.model.save_pretrained(tmp_path)  # type: ignore[operator]
    tiny.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def state() -> tuple[object, int]:
    return theirs._tqdm_hook, logging.getLogger("transformers").level


def test_nothing_is_printed_and_everything_is_as_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state()
    load(f"hf/{folder}")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError):
        load(f"hf/{folder}")
    assert capsys.readouterr() == ("", "")
    assert state() == before


def test_a_hook_of_the_users_comes_back_whoever_ends_last() -> None:
    def own(factory: object, args: object, kwargs: object) -> None:
        """Never called."""

    theirs.set_tqdm_hook(own)
    try:
        first, second = loading_quietly(), loading_quietly()
        first.__enter__()
        entered = threading.Thread(target=second.__enter__)
        entered.start()
        entered.join(30)
        first.__exit__(None, None, None)
        assert theirs._tqdm_hook is not own
        second.__exit__(None, None, None)
        assert theirs._tqdm_hook is own
    finally:
        theirs.set_tqdm_hook(None)
