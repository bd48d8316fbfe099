"""The texts on which methods are timed."""

from __future__ import annotations

from benchmarks.text_side_by_side import texts
from ttame.testing.tiny_texts import tiny_tokenizer


def test_texts_have_exactly_as_many_tokens_as_are_timed() -> None:
    found = tiny_tokenizer(512)(texts(3, 40))["input_ids"]
    assert [len(ids) for ids in found] == [40, 40, 40]
    assert len({tuple(ids) for ids in found}) == 3
    unknown = tiny_tokenizer(512).unk_token_id
    assert not any(unknown in ids for ids in found)
