"""Explainers from strangers: their recipes are data, and none of their numbers takes all memory."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.known_classifiers import load_classifier
from ttame.cli import main as command_line
from ttame.errors import ExplainerFolderError, TtameError, on_command_line
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.explainer_places import bundled_explainers

EVIL_CODE = """
import os
with open(os.environ["TTAME_TEST_MARKER"], "a") as file:
    file.write("ran")
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

class StrangeConfig(PretrainedConfig):
    model_type = "strange_network"

class StrangeNetwork(PreTrainedModel):
    config_class = StrangeConfig

    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.end = nn.Linear(16, 3)
        self.post_init()

    def forward(self, pixel_values, **_):
        return ImageClassifierOutput(logits=self.end(self.layers(pixel_values).mean((2, 3))))
"""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exists once a stranger's code has run."""
    monkeypatch.setenv("TTAME_TEST_MARKER", str(tmp_path / "RAN"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "hf"))
    return tmp_path / "RAN"


@pytest.fixture
def strange_network(tmp_path: Path) -> Path:
    """A transformers network whose code lies next to its weights."""
    folder = tmp_path / "strange"
    folder.mkdir()
    config = {
        "model_type": "strange_network",
        "architectures": ["StrangeNetwork"],
        "num_labels": 3,
        "auto_map": {
            "AutoConfig": "strange.StrangeConfig",
            "AutoModelForImageClassification": "strange.StrangeNetwork",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(EVIL_CODE)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
        )
    )
    weights = {
        "layers.0.weight": torch.rand(8, 3, 3, 3),
        "layers.0.bias": torch.zeros(8),
        "layers.2.weight": torch.rand(16, 8, 3, 3),
        "layers.2.bias": torch.zeros(16),
        "end.weight": torch.rand(3, 16),
        "end.bias": torch.zeros(3),
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved explainer of a tiny network of timm, with a file of weights."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    save_file(
        timm.create_model("test_resnet", num_classes=2).state_dict(), folder / "w.safetensors"
    )
    classifier = load_classifier(
        "timm/test_resnet",
        folder / "w.safetensors",
        image_size=64,
        network_options={"num_classes": 2, "drop_rate": 0.1, "global_pool": "avg"},
    )
    new_attention_explainer(classifier).save(folder / "saved")
    return folder / "saved"


@pytest.fixture
def stranger(resnet: Path, tmp_path: Path) -> Path:
    """A copy of that explainer to be changed."""
    import shutil

    return Path(shutil.copytree(resnet, tmp_path / "stranger"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def set_recipe(folder: Path, **changes: object) -> None:
    edit(folder, lambda config: config["classifier"]["recipe"].update(changes))


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("sys.argv", ["ttame", *arguments])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    return stopped.value.code


def test_a_folder_does_not_run_code_but_its_user_may(
    strange_network: Path, marker: Path, tmp_path: Path
) -> None:
    """The user's trust trains and loads, but stays with the user."""
    options = {"trust_remote_code": True}
    with pytest.raises(TtameError, match="Python code of its own.*trust_remote_code"):
        load_classifier(f"hf/{strange_network}")
    assert not marker.exists()
    classifier = load_classifier(f"hf/{strange_network}", network_options=options)
    assert marker.exists()
    explainer = new_attention_explainer(classifier)
    explainer.save(tmp_path / "saved")
    marker.unlink()
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert "classifier=your_classifier" in card
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["classifier"]["recipe"]["network_options"] == options
    with pytest.raises(ExplainerFolderError, match="'trust_remote_code', which only you") as caught:
        load_explainer(tmp_path / "saved")
    assert "trust_remote_code" in str(caught.value) and "\n" not in str(caught.value)
    # Also without the option, although the class is known to this process by now.
    (strange_network / "strange.py").write_text(EVIL_CODE.replace('"ran"', '"ran again"'))
    set_recipe(tmp_path / "saved", network_options={})
    with pytest.raises(TtameError):
        load_explainer(tmp_path / "saved")
    assert not marker.exists()
    # What the message says to do.
    again = load_explainer(
        tmp_path / "saved",
        classifier=load_classifier(f"hf/{strange_network}", network_options=options),
    )
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(images).maps, explainer(images).maps)


def test_no_command_runs_the_code_of_a_folder(
    strange_network: Path,
    marker: Path,
    stranger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.png")
    photo, out = str(tmp_path / "photo.png"), str(tmp_path / "out")
    for options in ({"trust_remote_code": True}, {}):
        set_recipe(
            stranger, name=f"hf/{strange_network}", weights="default", network_options=options
        )
        refused = [
            ["explain", photo, "--explainer", str(stranger), "--out", out],
            ["inspect", f"hf/{strange_network}"],
            ["explain", photo, "--model", f"hf/{strange_network}", "--methods", "grad_cam"],
        ]
        for arguments in refused:
            assert run(arguments, monkeypatch) == 2
            assert len(capsys.readouterr().err.strip().splitlines()) == 1
        # Here the classifier is the user's: the folder's recipe is not followed at all.
        evaluate = ["evaluate", "--data", str(tmp_path), "--methods", str(stranger), "--out", out]
        assert run(evaluate, monkeypatch) == 2
        assert "reads layers of timm/test_resnet" in capsys.readouterr().err
    assert not marker.exists()


PYTHON_NETWORK = """
import os
with open(os.environ["TTAME_TEST_MARKER"], "a") as file:
    file.write("ran")

def build(num_classes=2):
    import timm
    return timm.create_model("test_resnet", num_classes=num_classes)
"""


@pytest.fixture
def python_code(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every way to name code that can be imported from here, and that says when it runs."""
    file = tmp_path / "strangers_network.py"
    file.write_text(PYTHON_NETWORK)
    (tmp_path / "strangers_network.py:build").mkdir()  # as if it were a folder of a network
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "network.py").write_text(PYTHON_NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    places = ["strangers_network:build", "package.network:build", "strangers_network.py:build"]
    places += [f"{file}:build", f"./{file.name}:build", f"~/../{file}:build"]
    behind = [place for place in places if place.count("/") != 1]
    return [
        *places,
        *(f"{source}/{place}" for source in ("hf", "timm", "torchvision") for place in behind),
        *(f"timm/local-dir:{place}" for place in behind),
        *(f"timm/hf-hub:{place}" for place in behind),
        f"{places[0]}\n",
        f" {places[0]}",
    ]


def test_no_folder_names_python_code(
    stranger: Path,
    python_code: list[str],
    marker: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By path, by its name on the hub, and whatever stands beside the name."""
    downloaded = []

    def download(repository: str, **_: object) -> str:
        downloaded.append(repository)
        return str(stranger)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights = ("none", "default", str(stranger / "explainer.safetensors"))
    for name in python_code:
        for number, place in enumerate((stranger, "somebody/explainer")):
            set_recipe(
                stranger, name=name, weights=weights[number], weights_seed=0, network_options={}
            )
            with pytest.raises(TtameError) as caught:
                load_explainer(place)
            assert "\n" not in str(caught.value)
            with pytest.raises(TtameError):
                load_explainer(place, weights=weights[2], allow_other_weights=True)
    assert len(downloaded) == 2 * len(python_code)
    assert not marker.exists()
    assert not {"strangers_network", "package", "package.network"} & set(sys.modules)


def test_no_command_runs_python_code_that_a_folder_names(
    stranger: Path,
    python_code: list[str],
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64), "red").save(photos / "photo.png")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(stranger))
    out = ["--out", str(tmp_path / "out")]
    for name in python_code[:4]:
        # Also where the name that is shown says so.
        edit(stranger, lambda config, name=name: config["classifier"].update(name=name))
        set_recipe(stranger, name=name, weights="none", weights_seed=0, network_options={})
        for place in (str(stranger), "somebody/explainer"):
            explain = ["explain", str(photos), "--explainer", place, *out]
            assert run(explain, monkeypatch) == 2
            error = capsys.readouterr().err
            assert "which only you may ask for" in error and len(error.splitlines()) == 1
            assert run(["inspect", place], monkeypatch) == 2
            capsys.readouterr()
        # The bundled classifier is the default, and has other layers.
        evaluate = ["evaluate", "--data", str(photos), "--methods", str(stranger), *out]
        assert run(evaluate, monkeypatch) == 2
        assert "reads layers of" in capsys.readouterr().err
    assert not marker.exists()
    # What a person types is run, with the arguments that are typed.
    explain = ["explain", str(photos), "--explainer", str(stranger), "--model", python_code[0]]
    explain += ["--image-size", "64", "--allow-other-weights", "--device", "cpu", *out]
    assert run(explain, monkeypatch) == 0
    assert marker.read_text() == "ran"


def test_the_command_that_the_message_names_works(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.png")
    recipe = json.loads((stranger / "config.json").read_text())["classifier"]["recipe"]
    set_recipe(stranger, network_options={"num_classes": 2, "zero_init_last": True})
    with pytest.raises(ExplainerFolderError) as caught:
        load_explainer(stranger)
    options = "--network-option num_classes=2 --network-option zero_init_last=true"
    assert options in on_command_line(caught.value)
    typed = ["--model", recipe["name"], "--weights", recipe["weights"], "--image-size", "64"]
    typed += ["--network-option", "num_classes=2", "--network-option", "zero_init_last=true"]
    photo, place = str(tmp_path / "photo.png"), ["--explainer", str(stranger)]
    typed += ["--device", "cpu"]
    explain = ["explain", photo, *place, *typed, "--classes", "top1", "--out", f"{tmp_path}/out"]
    assert run(explain, monkeypatch) == 0
    evaluate = ["evaluate", "--data", str(tmp_path), "--methods", str(stranger), *typed]
    assert run([*evaluate, "--out", str(tmp_path / "numbers"), "--limit", "1"], monkeypatch) == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/test_resnet", {"checkpoint_path": "/etc/passwd"}, "'checkpoint_path'"),
        ("timm/test_resnet", {"pretrained_cfg": {"file": "/x.pth"}}, "'pretrained_cfg'"),
        ("timm/test_resnet", {"pretrained_cfg_overlay": {}}, "'pretrained_cfg_overlay'"),
        ("timm/test_resnet", {"cache_dir": "/etc"}, "'cache_dir'"),
        ("timm/test_resnet", {"pretrained_strict": False}, "'pretrained_strict'"),
        ("timm/test_resnet", {"block": "os.system"}, "'block'"),
        ("timm/test_resnet", {"norm_layer": "x"}, "'norm_layer'"),
        ("timm/test_resnet", {"features_only": True}, "'features_only'"),
        ("timm/test_resnet", {"scriptable": True}, "'scriptable'"),
        ("timm/test_resnet", {"act_layer": "os.system"}, "act_layer='os.system'"),
        ("timm/test_resnet", {"act_layer": {}}, "act_layer=a table"),
        ("timm/test_resnet", {"global_pool": ["avg"]}, "global_pool=a list"),
        ("timm/test_resnet", {"num_classes": 10**12}, "num_classes=1000000000000"),
        ("timm/test_resnet", {"num_classes": -5}, "num_classes=-5"),
        ("timm/test_resnet", {"num_classes": True}, "num_classes=True"),
        ("timm/test_resnet", {"num_classes": 2.0}, r"num_classes=2\.0"),
        ("timm/test_resnet", {"num_classes": "2"}, "num_classes='2'"),
        ("timm/test_resnet", {"drop_rate": 1e308}, "drop_rate=1e"),
        ("timm/test_resnet", {"img_size": 10**9}, "img_size=1000000000"),
        ("timm/test_resnet", {"img_size": [[[[1]]]]}, "img_size=a list"),
        ("timm/test_resnet", {"x" * 10**6: 1}, "xxx…"),
        ("efficientnet_lite0", {"a": [[[[1]]]]}, "'a'"),
        ("hybrid_vit_lite0", {"depth": 10**9}, "'depth'"),
        ("torchvision/resnet18", {"weights": "DEFAULT"}, "'weights'"),
        ("torchvision/resnet18", {"progress": True}, "'progress'"),
        ("torchvision/resnet18", {"num_classes": 10**13}, "num_classes=1"),
        ("hf/somebody/network", {"trust_remote_code": True}, "'trust_remote_code'"),
        ("hf/somebody/network", {"attn_implementation": "evil/kernel"}, "'attn_implementation'"),
        ("hf/somebody/network", {"quantization_config": {}}, "'quantization_config'"),
        ("hf/somebody/network", {"use_safetensors": False}, "'use_safetensors'"),
        ("hf/somebody/network", {"gguf_file": "x"}, "'gguf_file'"),
        ("hf/somebody/network", {"token": "x"}, "'token'"),
        ("hf/somebody/network", {"proxies": {}}, "'proxies'"),
        ("hf/somebody/network", {"adapter_kwargs": {}}, "'adapter_kwargs'"),
        ("hf/somebody/network", {"auto_map": {}}, "'auto_map'"),
        ("timm/hf-hub:../x", {}, r"classifier 'timm/hf-hub:\.\./x'"),
        ("timm/local-dir:network", {}, "classifier 'timm/local-dir:network'"),
        ("timm/https://example.org/x", {}, "classifier 'timm/https"),
        ("package.module:build", {}, "classifier 'package.module:build'"),
        ("/tmp/network.py:build", {}, "classifier '/tmp/network.py:build'"),
        ("network.py:build", {}, "classifier 'network.py:build'"),
        ("python/x", {}, "classifier 'python/x'"),
        ("timm/../x", {}, r"classifier 'timm/\.\./x'"),
        ("hf/../x", {}, r"classifier 'hf/\.\./x'"),
        ("hf/~/x", {}, "classifier 'hf/~/x'"),
        ("hf//tmp/../etc", {}, "classifier 'hf//tmp"),
        ("hf///host/share", {}, "classifier 'hf///host"),
        ("hf/a/b/c", {}, "classifier 'hf/a/b/c'"),
        ("hf/https://example.org/x", {}, "classifier 'hf/https"),
    ],
)
def test_what_a_recipe_may_not_say(
    stranger: Path, name: str, options: dict[str, Any], message: str
) -> None:
    set_recipe(stranger, name=name, weights="default", network_options=options)
    with pytest.raises(ExplainerFolderError, match=message) as caught:
        load_explainer(stranger)
    assert "only you" in str(caught.value) and caught.value.remedy
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("/etc/passwd", "weights '/etc/passwd', which only you"),
        ("/dev/zero", "weights '/dev/zero', which only you"),
        ("../../w.safetensors", "which only you"),
        ("/tmp/../w.safetensors", "which only you"),
        ("//host/share/w.safetensors", "which only you"),
        ("https://example.org/w.safetensors", "which only you"),
        ("/nowhere/w.safetensors", "do not exist"),
        (f"/{'x' * 5000}.safetensors", "do not exist"),
    ],
)
def test_where_weights_may_not_lie(stranger: Path, weights: str, message: str) -> None:
    set_recipe(stranger, weights=weights)
    with pytest.raises(TtameError, match=message):
        load_explainer(stranger)


def test_weights_are_a_regular_file(stranger: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    set_recipe(stranger, weights=str(pipe))
    with pytest.raises(TtameError, match="a device or a pipe"):
        load_explainer(stranger)
    (stranger / "explainer.safetensors").unlink()
    os.mkfifo(stranger / "explainer.safetensors")
    with pytest.raises(ExplainerFolderError, match="a device or a pipe"):
        load_explainer(stranger)
    (stranger / "config.json").unlink()
    os.mkfifo(stranger / "config.json")
    with pytest.raises(ExplainerFolderError, match="missing"):
        load_explainer(stranger)


def test_plain_options_are_followed(stranger: Path) -> None:
    loaded = load_explainer(stranger)
    assert loaded.classifier.number_of_classes == 2
    assert loaded.classifier.network.drop_rate == 0.1
    set_recipe(
        stranger, network_options={"num_classes": 2, "drop_path_rate": 0, "act_layer": "relu"}
    )
    load_explainer(stranger, allow_other_weights=True)


@pytest.mark.parametrize("name", sorted(set(bundled_explainers()) - {"minilm_reviews"}))
def test_bundled_explainers_load(name: str) -> None:
    assert load_explainer(name).classifier.number_of_classes == 1000


@pytest.fixture
def bounded() -> Iterator[None]:
    """No more than 3 GiB above what is in use, and five seconds of the processor."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - start < 5


ABSURD = [10**12, 10**18, 10**4000, -1, 0, 1.5, 1e308, True, None, "x", "x" * 10**5, [], {}, [[1]]]
FIELDS = [
    "schema_version",
    "ttame_version",
    "method",
    "head",
    "head.settings",
    "head.settings.kind",
    "head.settings.maps",
    "head.settings.maps.kind",
    "head.settings.class_token",
    "head.settings.last_tap_only",
    "head.inputs",
    "head.channels",
    "head.channels.0",
    "head.number_of_classes",
    "classifier",
    "classifier.name",
    "classifier.fingerprint",
    "classifier.recipe",
    "classifier.recipe.name",
    "classifier.recipe.weights",
    "classifier.recipe.image_size",
    "classifier.recipe.image_size.0",
    "classifier.recipe.network_options",
    "classifier.recipe.class_names",
    "classifier.taps",
    "classifier.taps.0",
    "classifier.preprocessing",
    "classifier.preprocessing.input_size",
    "classifier.preprocessing.input_size.0",
    "classifier.preprocessing.resize",
    "classifier.preprocessing.mean",
    "classifier.preprocessing.mean.0",
    "classifier.preprocessing.std.0",
    "classifier.preprocessing.interpolation",
    "training",
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.usefixtures("bounded")
def test_absurd_values_end_in_one_line(stranger: Path, field: str) -> None:
    whole = (stranger / "config.json").read_text()
    *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    for value in ABSURD:
        config = json.loads(whole)
        place = config
        for part in path:
            place = place[part]
        place[last] = value
        (stranger / "config.json").write_text(json.dumps(config))
        try:
            load_explainer(stranger)
        except TtameError as problem:
            assert "\n" not in str(problem), (field, value)
            assert len(str(problem)) < 11_000, (field, value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 10**5, "not readable JSON"),
        ('{"a":' * 10**5, "not readable JSON"),
        ("9" * 10**5, "not readable JSON"),
        ("NaN", "NaN, which is not JSON"),
        ('{"number_of_classes": 1' + "0" * 4000 + "}", "more than 64 bits"),
        (" " * (17 * 2**20), "at most 16777216 are read"),
        ("[]", "broken"),
        ("\ud800", "not readable JSON"),
        ('{"schema_version": 1' + ",".join(f', "{i}": 1' for i in range(3)) + "}", "not readable"),
        ("{" + ",".join(f'"{i}":1' for i in range(10**6)) + ',"schema_version":1}', "broken at"),
    ],
)
@pytest.mark.usefixtures("bounded")
def test_files_that_are_no_configuration(stranger: Path, content: str, message: str) -> None:
    (stranger / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ExplainerFolderError, match=message) as caught:
        load_explainer(stranger)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", [10**7]),
        ("channels", [2, 2]),
        ("channels", [1] * 1000),
        ("channels", [-3]),
        ("number_of_classes", 10**7),
        ("number_of_classes", 3),
    ],
)
@pytest.mark.usefixtures("bounded")
def test_a_head_is_the_one_in_its_file(stranger: Path, key: str, value: object) -> None:
    edit(stranger, lambda config: config["head"].update({key: value}))
    with pytest.raises(ExplainerFolderError, match=r"broken at 'head|does not fit"):
        load_explainer(stranger)


@pytest.mark.usefixtures("bounded")
def test_a_million_broken_class_names_are_one_error(stranger: Path) -> None:
    set_recipe(stranger, class_names=[1] * 10**6)
    with pytest.raises(ExplainerFolderError, match=r"recipe\.class_names.*should be text"):
        load_explainer(stranger)


def test_a_thousand_taps_are_refused(stranger: Path) -> None:
    edit(stranger, lambda config: config["classifier"].update(taps=[f"l{i}" for i in range(10**4)]))
    with pytest.raises(ExplainerFolderError, match=r"broken at 'classifier\.taps'"):
        load_explainer(stranger)


def test_tensors_that_the_head_does_not_have_are_refused(stranger: Path) -> None:
    weights = load_file(stranger / "explainer.safetensors")
    save_file({**weights, "surplus": torch.zeros(1)}, stranger / "explainer.safetensors")
    with pytest.raises(ExplainerFolderError, match=r"1 tensors.*surplus"):
        load_explainer(stranger)


def test_a_classifier_of_ones_own_is_not_asked_about_recipes(stranger: Path) -> None:
    """Saving and loading with ``classifier=`` works whatever the network and its size."""
    made = new_attention_explainer(tiny_cnn())
    made.save(stranger.parent / "own")
    load_explainer(stranger.parent / "own", classifier=tiny_cnn())


def test_training_says_what_must_be_said_again() -> None:
    from ttame.cli.training_display import TrainingDisplay
    from ttame.training.training_settings import TrainingSettings

    for options, said in (({}, False), ({"zero_init_last": True}, True)):
        network_options = {"num_classes": 2, **options}
        name = "timm/test_resnet"
        classifier = load_classifier(name, image_size=64, weights="none")
        classifier.recipe = ClassifierRecipe(name, "default", (64, 64), network_options)
        display = TrainingDisplay(classifier, TrainingSettings())
        told = [note for note in display._notes if "'zero_init_last' is not read" in note]
        assert bool(told) == said
