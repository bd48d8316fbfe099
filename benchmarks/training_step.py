"""What a training step costs compared with a plain forward pass, and what the time is spent on.

    python -m benchmarks.training_step

Each network runs in processes of its own, so that peak memory belongs to one of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.benchmark_page import median, median_ratio, table, write_section

LIMITS = {"torchvision/resnet50": 3.6, "torchvision/vit_b_16": 3.3, "torchvision/vgg16": 3.0}
BATCH, REPEATS = 16, 7
PHASES = ("features", "head", "masked forward", "loss and backward", "optimiser")


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
        return
    rows, shares = [], []
    for name, limit in LIMITS.items():
        step, plain = in_own_process(name, "step"), in_own_process(name, "plain")
        rows.append(
            [
                name,
                f"{step['plain']:.2f} s",
                f"{step['step']:.2f} s",
                f"{step['ratio']:.2f}",
                f"{limit}",
                f"{plain['peak_mb']:.0f} MB",
                f"{step['peak_mb']:.0f} MB",
            ]
        )
        shares.append([name, *(f"{step[phase] / step['plain']:.2f}" for phase in PHASES)])
        print(rows[-1], shares[-1], flush=True)
    header = ["network", "plain forward", "step", "ratio", "limit", "peak plain", "peak step"]
    note = (
        f"\n\nMedians over {REPEATS} rounds of a forward pass and a step in turns, the ratio being "
        f"the median of the rounds' ratios; batch of {BATCH} "
        "images of 224x224, random weights, the `t-tame` preset. Peak is the resident memory of "
        "the process, PyTorch included.\n\nWhere the time goes, in plain forward passes:\n\n"
    )
    body = table(header, rows) + note + table(["network", *PHASES], shares)
    command = "python -m benchmarks.training_step"
    write_section("training-step", "A training step against a plain forward pass", command, body)


def in_own_process(name: str, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training_step", name, what]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


def measure(name: str, what: str) -> dict[str, float]:
    import ttame

    classifier = ttame.load_classifier(name, "none")
    images = torch.randn(BATCH, 3, 224, 224)

    def plain() -> None:
        with torch.no_grad():
            classifier.network(images)

    if what == "plain":
        plain()
        return {"peak_mb": peak_megabytes()}
    step = make_step(classifier, images)
    plain()
    step({})
    phases: list[dict[str, float]] = []
    seconds: dict[str, list[float]] = {"plain": [], "step": []}
    for _ in range(REPEATS):
        seconds["plain"].append(timed(plain))
        phases.append({})
        seconds["step"].append(timed(lambda: step(phases[-1])))
    result = {key: median(values) for key, values in seconds.items()}
    result["ratio"] = median_ratio(seconds["step"], seconds["plain"])
    result |= {phase: median([taken[phase] for taken in phases]) for phase in PHASES}
    return result | {"peak_mb": peak_megabytes()}


def make_step(classifier: object, images: torch.Tensor) -> Callable[[dict[str, float]], None]:
    """One step exactly as the training loop takes it, with a clock between its parts."""
    import ttame
    from ttame.classifiers.classifier import Classifier
    from ttame.training.attention_objective import (
        TTameObjective,
        objective,
        own_maps,
        selected_classes,
    )
    from ttame.training.masked_pass import masked_logits
    from ttame.training.optimisation import make_optimiser

    assert isinstance(classifier, Classifier)
    settings = ttame.training_settings("t-tame", batch_size=BATCH)
    loss = settings.objective
    assert isinstance(loss, TTameObjective)
    selection = loss.map_selection
    head = ttame.new_attention_explainer(classifier).head.train()
    optimiser = make_optimiser(head, settings.optimiser)

    def step(taken: dict[str, float]) -> None:
        clock = time.perf_counter()

        def lap(phase: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            taken[phase], clock = now - clock, now

        with classifier.frozen():
            with torch.no_grad():
                reading = classifier.read_features(images)
            lap("features")
            labels = reading.logits.argmax(dim=1)
            classes = selected_classes(reading.logits, labels, selection)
            maps = head.maps(classifier, reading, classes).sigmoid()
            lap("head")
            own = own_maps(maps, selection)
            logits = masked_logits(classifier, images, own, loss.masked, torch.Generator())
            lap("masked forward")
            objective(maps, logits, labels, loss).total.backward()
            lap("loss and backward")
            optimiser.step()
            optimiser.zero_grad()
            lap("optimiser")

    return step


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
