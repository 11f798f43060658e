"""Settings: what params.yaml may contain, and how mistakes are reported."""

from dataclasses import fields
from pathlib import Path

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.mixing import METHODS
from saliencymixplus.settings import load_params, settings_digest
from tests.settings.minimal import MINIMAL

REPOSITORY = Path(__file__).parents[2]


def test_the_projects_own_params_are_valid():
    params = load_params(REPOSITORY / "params.yaml")
    assert set(params.sections) >= {"digits", "cifar10", "cifar100", "oxford_pet"}
    assert params.top.experiments == ("clutter",)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_params_yaml_lists_every_option(method):
    """`dvc exp run -S` can only set keys that are there. Presets are the methods' own."""
    mix = load_params(REPOSITORY / "params.yaml").top.mix
    assert set(mix[method.name]) == {field.name for field in fields(method.options)}
    assert not set(method.recipes) & set(mix)


def test_a_file_with_one_experiment_of_ones_own_is_enough(params):
    text = "birds:\n  download: {source: imagefolder, path: /data/birds}\n"
    assert list(load_params(params(text)).sections) == ["birds"]


def test_the_published_recipes_are_the_published_ones():
    params = load_params(REPOSITORY / "params.yaml")
    cifar, pet = params.experiment("cifar100"), params.experiment("oxford_pet")
    for section in (cifar, pet):
        recipe = section.training
        assert (recipe.learning_rate, recipe.momentum, recipe.nesterov) == (0.1, 0.9, True)
        assert (recipe.weight_decay, recipe.gamma, recipe.mix_prob) == (5e-4, 0.1, 0.5)
        assert recipe.schedule == "steps"
        assert recipe.milestones == (75, 150, 225)
    assert (cifar.training.epochs, cifar.training.batch_size) == (200, 128)
    assert cifar.training.augment == "flip"
    assert cifar.data.mean == pytest.approx((125.3 / 255, 123.0 / 255, 113.9 / 255))
    assert cifar.data.std == pytest.approx((63.0 / 255, 62.1 / 255, 66.7 / 255))
    assert (pet.training.epochs, pet.training.batch_size) == (300, 64)
    assert (pet.data.image_size, pet.training.crop_size) == (256, 224)
    assert pet.training.augment == "resized-crop-flip"


def test_an_override_changes_one_of_the_sections_that_share_an_alias(params):
    one = "one:\n  download: {source: digits}\n  training: &shared {epochs: 5}\n"
    two = "two:\n  download: {source: digits}\n  training: *shared\n"
    loaded = load_params(params(one + two), ["one.training.epochs=3"])
    assert [section.training.epochs for section in loaded.sections.values()] == [3, 5]


def test_overrides_and_options_leave_the_next_reading_as_it_was(params):
    """The same text is parsed only once per process."""
    path = params(MINIMAL + "  training: {epochs: 5}\nseeds: [1]\n")
    before = load_params(path)
    options = {"digits.training.epochs": ("--epochs", 3)}
    changed = load_params(path, ["seeds=[4]", "digits.data.image_size=12"], options)
    assert (changed.top.seeds, changed.experiment("digits").training.epochs) == ((4,), 3)
    assert load_params(path) == before
    assert before.experiment("digits").training.epochs == 5


def test_a_number_in_scientific_notation_is_a_number(params):
    text = MINIMAL + "  training: {weight_decay: 1e-4}\n"
    assert load_params(params(text)).experiment("digits").training.weight_decay == 1e-4


def test_overrides_win_and_reach_new_keys(params):
    loaded = load_params(
        params(), ["digits.training.epochs=3", "mix.cutmix={}", "seeds=[4, 5]", "methods=[none]"]
    )
    assert loaded.experiment("digits").training.epochs == 3
    assert loaded.top.seeds == (4, 5)
    assert loaded.top.methods == ("none",)


def test_an_option_wins_over_an_override_and_is_named_if_it_is_wrong(params):
    path, options = params(), {"digits.training.epochs": ("--epochs", 3)}
    loaded = load_params(path, ["digits.training.epochs=2"], options)
    assert loaded.experiment("digits").training.epochs == 3
    with pytest.raises(UserError, match=r"^--epochs: digits\.training\.epochs: .*, not 0"):
        load_params(path, [], {"digits.training.epochs": ("--epochs", 0)})
    with pytest.raises(UserError, match=r"^--set: digits\.training\.gamma"):
        load_params(path, ["digits.training.gamma=2"], options)


@pytest.mark.parametrize(
    ("override", "blamed"),
    [
        ("digits.training.epochs=0", "--set: digits.training.epochs:"),
        ("digits.training={epochs: 0}", "--set: digits.training.epochs:"),
        ("digits.training.mix_start=7", "params.yaml, --set: digits.training:"),
        ("digts.training.epochs=1", "--set: digts: neither a known key"),
        ("mix.cutmix.alpha=-1", "--set: mix.cutmix: alpha:"),
        ("mix.cutmix.alfa=1", "--set: mix.cutmix: no option is called 'alfa'"),
        ("mix.mine.switch={cutmix: 2}", "--set: mix.mine.switch:"),
        ("mix.cutmix.box=batch", "params.yaml: mix.cutmix: alpha:"),
    ],
)
def test_what_set_a_wrong_value_is_blamed(params, override, blamed):
    alpha = -1 if blamed.startswith("params.yaml: ") else 1
    mix = f"{{mine: {{switch: {{cutmix: 1}}}}, cutmix: {{alpha: {alpha}}}}}"
    path = params(f"{MINIMAL}  training: {{epochs: 7}}\nmix: {mix}\n")
    with pytest.raises(UserError) as caught:
        load_params(path, [override]).mix("mine")
    assert str(caught.value).startswith(blamed)


def test_the_file_is_read_once(params, monkeypatch):
    path, reads = params(), []
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda p, *a, **k: reads.append(p) or read(p, *a, **k))
    load_params(path, ["seeds=[1]"], {"digits.training.epochs": ("--epochs", 3)})
    assert reads == [path]


def test_runs_that_differ_in_anything_that_counts_differ_in_digest(params):
    base = load_params(params())
    digests = {settings_digest(base.run("digits", "cutmix", 0), "data")}
    digests.add(settings_digest(base.run("digits", "cutmix", 1), "data"))
    digests.add(settings_digest(base.run("digits", "none", 0), "data"))
    digests.add(settings_digest(base.run("digits", "cutmix", 0), "other data"))
    changed = load_params(params(), ["digits.training.learning_rate=0.2"])
    digests.add(settings_digest(changed.run("digits", "cutmix", 0), "data"))
    changed = load_params(params(), ["mix.cutmix.alpha=0.5"])
    digests.add(settings_digest(changed.run("digits", "cutmix", 0), "data"))
    assert len(digests) == 6
    assert settings_digest(base.run("digits", "cutmix", 0), "data") in digests


def test_a_methods_label_names_its_run_folders(params):
    found = load_params(params(), ["methods=[CutMix, SaliencyMix+]", "seeds=[3]"])
    folders = found.run_folders("digits", found.top.methods)
    assert [folder.parts[-2:] for folder in folders] == [
        ("cutmix", "seed3"),
        ("saliencymixplus", "seed3"),
    ]
    names = [found.run("digits", name, 3).mix.name for name in found.top.methods]
    assert [folder.parts[-2] for folder in folders] == names
