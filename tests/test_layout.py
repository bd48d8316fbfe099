"""Where tests lie, and how long files and functions are."""

from __future__ import annotations

import ast
import functools
import statistics
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SOURCE = ROOT / "src" / "ttame"

MIRRORED = {name: ROOT / name for name in ("benchmarks", "examples", "scripts")}
"""Folders of tests that do not mirror ``src/ttame``."""

CROSS_CUTTING = {
    "compat/test_coming_from_elsewhere.py": "both columns of the page for other libraries' users",
    "compat/test_peers.py": "the same calls to other libraries and to what answers them",
    "examples/deploy/test_browser.py": "a page, which is not Python",
    "cli/test_commands.py": "one command after another, as they are typed",
    "cli/test_own_weights.py": "a network of one's own, in every command",
    "cli/test_odd_file_names.py": "names of any bytes, in every command",
    "explainers/test_attribute.py": "other people's metrics run on explainers",
    "explainers/test_every_explainer.py": "the contract of all methods on all kinds of networks",
    "explainers/test_targets_of_every_explainer.py": "the targets that every method says it takes",
    "explainers/test_published_texts.py": "methods on a BERT, against golden tensors",
    "explainers/test_outputs_of_every_method.py": "all methods on every meaning of outputs",
    "explainers/trained/test_bundled_explainers.py": "what ships",
    "scripts/test_minilm_reviews.py": "fine-tuning and shipping, one after the other",
    "explainers/trained/test_folder_recipes.py": "explainers from strangers, from file to command",
    "benchmarks/planted_digits/test_planted_scores_convolutional.py": "trains a second network, "
    "in a process of its own",
    "metrics/test_localisation.py": "what three metrics have in common",
    "metrics/test_sparseness_and_complexity.py": "two metrics of the same maps",
    "reporting/test_evaluation_report_in_browser.py": "the page as a browser shows it",
    "scripts/test_hybrid_vit_problems.py": "bad input to each of the scripts",
    "scripts/test_hybrid_vit_scripts.py": "all scripts after one another",
    "test_architecture.py": "who imports whom",
    "test_docstring_examples.py": "examples of all modules",
    "test_documented_processes.py": "the documentation",
    "test_documented_python.py": "the documentation",
    "test_layout.py": "this file",
    "test_other_device.py": "everything, on a device that is not the processor",
    "test_public_arguments.py": "what every public function says of its arguments",
    "test_readme.py": "the first page",
    "test_reference.py": "the documentation",
    "test_workflows.py": "continuous integration",
    "training/test_kill_and_resume.py": "a whole training",
    "training/test_several_processes.py": "a whole training",
    "training/test_train_few_shot.py": "a whole training, with the few-shot head",
    "training/test_train_with_features_from.py": "a whole training, on another network's features",
    "training/test_training_step.py": "one step through several modules, against golden tensors",
}
"""Tests of more than one module, and why they are."""

TESTED_THROUGH = {
    "exporting/one_pass_maps": "exporting/test_map_sources.py: both steps of every source",
    "__main__": "cli/test_main.py: the command line as a program",
    "cli/inspect": "cli/test_commands.py: what it prints of a classifier",
    "cli/text_display": "cli/test_explain_texts.py: what the terminal shows",
    "reporting/texts/explained_text": "reporting/texts/test_text_report.py: what is written",
    "results/picturing": "results/test_pictured.py: the methods that it stands behind",
    "compat/captum_inputs": "compat/test_captum.py: what the calls take",
    "datasets/voc_annotations": "datasets/test_annotations.py: all three kinds of files",
    "evaluation/read_images": "evaluation/test_evaluate_methods.py: unreadable photos, targets",
    "evaluation/run_folder": "evaluation/test_evaluate_methods.py: what a folder holds",
    "evaluation/texts/measuring_texts": "evaluation/texts/test_evaluate_texts.py",
    "evaluation/run_identity": "evaluation/test_evaluate_methods.py: what may be resumed",
    "evaluation/sanity": "evaluation/test_randomisation.py: the check on photos",
    "explainers/contract/given_explainer": "test_public_arguments.py: what is not an explainer",
    "explainers/contract/option_checks": "explainers/test_known_explainers.py: options refused",
    "explainers/methods/gradient/averaged_gradients": "explainers/methods/gradient/"
    "test_integrated_gradients.py: what two methods have in common",
    "explainers/methods/perturbation/token_mosaics": "explainers/methods/perturbation/"
    "test_vit_recipro_cam.py: its variants",
    "explainers/passes/token_variants": "explainers/methods/perturbation/"
    "test_vit_recipro_cam.py: its passes",
    "explainers/relevance/held_scales": "explainers/relevance/test_propagation.py: scales are held",
    "explainers/trained/explainer_files": "explainers/trained/test_explainer_folder.py: names",
    "explainers/trained/shared_head_layers": "explainers/trained/test_shared_head.py: the formula",
    "explainers/trained/strict_model": "explainers/trained/test_folder_recipes.py: bad files",
    "explainers/trained/token_gated_head": "explainers/trained/test_attention_head.py: both heads",
    "reporting/explaining_preparation": "reporting/test_explain.py: what is refused and noted",
    "reporting/evaluation_gallery": "reporting/test_evaluation_report.py: the photos on the page",
    "serving/answers": "serving/test_api.py: what requests are answered with",
    "serving/upload_form": "serving/test_api.py: forms that are read and refused",
    "training/gradient_mean": "training/test_several_processes.py: the mean over processes",
    "training/learning_rate_plot": "training/test_learning_rate_test.py: the plot of the test",
}
"""Modules whose tests are those of what uses them, with neither a test of their own stem, nor an
example, nor a test that names them."""

MOST_LINES = 400
LONGEST_FUNCTION = 56


def module_about(test: Path) -> Path:
    """What the test of that name and place is about, with or without its ``.py``."""
    first, *others = test.relative_to(TESTS).parent.parts or ("",)
    folder = MIRRORED[first].joinpath(*others) if first in MIRRORED else SOURCE / first
    folder = folder if first in MIRRORED else folder.joinpath(*others)
    return folder / test.stem.removeprefix("test_")


def exists(module: Path) -> bool:
    mains = [module.with_name("__main__.py")] if module.name == "main" else []
    return any(path.is_file() for path in (module.with_suffix(".py"), *mains))


def test_a_test_lies_where_its_module_does_and_has_its_stem() -> None:
    for test in sorted(TESTS.rglob("test_*.py")):
        name = test.relative_to(TESTS).as_posix()
        assert exists(module_about(test)) != (name in CROSS_CUTTING), (
            f"{name}: move it to where what it tests lies, or say in CROSS_CUTTING why it is "
            "about more than one module"
        )


def test_every_module_is_tested() -> None:
    """By a test of its stem, an example in a docstring, a test that imports from it, or as said."""
    named = {
        f"{node.module}.{alias.name}".removeprefix("ttame.")
        for test in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(test.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ttame")
        for alias in node.names
    }
    modules = {name.rpartition(".")[0] for name in named} | named
    untested = set()
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).with_suffix("")
        own = (TESTS / module).with_name(f"test_{module.name}.py")
        example = ">>> " in path.read_text(encoding="utf-8")
        if module.name != "__init__" and ".".join(module.parts) not in modules:
            untested |= set() if own.is_file() or example else {module.as_posix()}
    assert untested == set(TESTED_THROUGH)


def test_the_table_of_other_tests_is_up_to_date() -> None:
    others = {words.partition(":")[0] for words in TESTED_THROUGH.values()}
    assert all((TESTS / name).is_file() for name in {*CROSS_CUTTING, *others})


def test_a_worker_has_one_thread() -> None:
    """Two that wait for each other take twice the processor time, which nobody would notice."""
    assert torch.get_num_threads() == 1


def test_nothing_among_the_tests_is_a_program() -> None:
    """What writes pages lies in ``scripts/docs`` and ``benchmarks``."""
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "__main__" in text:  # Only then it may begin with such a line; parsing takes long.
            starts = [ast.unparse(node.test) for node in _ifs(text)]
            assert "__name__ == '__main__'" not in starts, path


def _ifs(text: str) -> list[ast.If]:
    return [node for node in ast.parse(text).body if isinstance(node, ast.If)]


@functools.cache
def functions() -> dict[str, int]:
    """Place of every function to its number of lines, signature and docstring left out."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                place = f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
                found[place] = _lines(node)
    return found


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_lines_of_functions_are_counted() -> None:
    short = ast.parse('def f(\n    a,\n):\n    """Two\n    lines."""\n    b = a\n\n    return b\n')
    assert _lines(short.body[0]) == 3  # type: ignore[arg-type]
    assert _lines(ast.parse('def f():\n    """One."""').body[0]) == 0  # type: ignore[arg-type]
    assert _lines(ast.parse("def f(): return 1").body[0]) == 1  # type: ignore[arg-type]


def test_functions_are_short() -> None:
    lengths = functions()
    assert len(lengths) > 1500
    assert statistics.median(lengths.values()) <= 5
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 17
    assert {place: n for place, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}
