"""What ``ttame explain`` is asked to explain: classes, or classes rather than another one."""

from __future__ import annotations

import dataclasses
from typing import Any

from ttame.classifiers.class_selection import class_index
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.results.explanation import Explanation


@dataclasses.dataclass(frozen=True)
class AskedTargets:
    """The same for every method and every photo.

    Attributes:
        classes: as ``--classes`` says.
        rather_than: as ``--rather-than`` says, if anything.
    """

    classes: Any
    rather_than: str | None

    @classmethod
    def of(cls, classes: Any, rather_than: str | None, classifier: Classifier) -> AskedTargets:
        """Check ``--rather-than`` before any work.

        Raises:
            ClassSelectionError: not one class of the classifier.
        """
        if rather_than is not None:
            class_index(rather_than, classifier.class_names, classifier.number_of_classes)
        return cls(classes, rather_than)

    def target(self, first: Explanation | None) -> Target:
        """What the next method explains.

        Args:
            first: by the first method, which chooses: "top3" must mean the same three classes for
                all of them.
        """
        classes = self.classes if first is None else first.classes
        if self.rather_than is None:
            return Target.of(classes)
        return Target.contrast(classes, self.rather_than)
