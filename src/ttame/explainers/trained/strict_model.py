"""Reading what strangers wrote: fields that are known, numbers and texts that are bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pydantic

from ttame.features.tap_choice import MOST_TAPS

# Far from what anybody has. What a recipe may make ttame allocate is bounded more tightly where it
# is followed, and a head by what its weights file holds.
_MOST = 10**7
_LONGEST_NAME = 10_000
_MOST_FIELDS = 100

Text = Annotated[str, pydantic.Field(max_length=_LONGEST_NAME)]
Count = Annotated[int, pydantic.Field(strict=True, ge=1, le=_MOST)]
Position = Annotated[int, pydantic.Field(strict=True, ge=0, lt=MOST_TAPS)]
Width = Annotated[int, pydantic.Field(strict=True, ge=0, le=_MOST)]
PER_TAP = pydantic.Field(min_length=1, max_length=MOST_TAPS)


class StrictModel(pydantic.BaseModel):
    """A frozen model that takes no other fields than its own."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _few_fields(cls, content: object) -> object:
        # A million unknown ones would each become an error of its own.
        if isinstance(content, Mapping) and len(content) > _MOST_FIELDS:
            raise ValueError(f"{len(content)} entries, where at most {_MOST_FIELDS} make sense")
        return content
