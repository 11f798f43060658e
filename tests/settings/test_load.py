"""Settings: what params.yaml may hold, and how a mistake in it is reported."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saliencymixplus.errors import UserError
from saliencymixplus.mixing import METHODS, create
from saliencymixplus.settings import MixSettings, load_params, settings_digest

REPOSITORY = Path(__file__).parents[2]
MINIMAL = "digits:\n  download:\n    source: digits\n"


@pytest.fixture
def params(tmp_path):
    def write(text: str = MINIMAL) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


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


BAD = [
    ("", "must be a mapping"),
    ("- a\n", "must be a mapping"),
    ("a: [", "not valid YAML"),
    ("a: 1\na: 2\n", "not valid YAML"),
    ("experimnts: [digits]\n" + MINIMAL, "did you mean 'experiments'"),
    ("experiments: [digit]\n" + MINIMAL, "did you mean 'digits'"),
    ("experiments: digits\n" + MINIMAL, "experiments"),
    ("methods: []\n" + MINIMAL, "methods: empty: name at least one"),
    ("seeds: []\n" + MINIMAL, "seeds: empty: name at least one"),
    ("methods: [none, cutmix, none]\n" + MINIMAL, "methods: 'none' is listed twice"),
    ("seeds: [0, 0]\n" + MINIMAL, "seeds: 0 is listed twice"),
    ("experiments: [digits, digits]\n" + MINIMAL, "experiments: 'digits' is listed twice"),
    ("seeds: [-1]\n" + MINIMAL, "seeds"),
    ("seeds: [0.5]\n" + MINIMAL, "seeds"),
    ("mix: [cutmix]\n" + MINIMAL, "mix"),
    ("evaluation: {batch: 1}\n" + MINIMAL, "evaluation.batch: unknown key"),
    ("audit: {images: 0}\n" + MINIMAL, "audit.images"),
    ("digits: {download: {source: mnist}}\n", "digits.download.source"),
    ("digits: {download: {source: imagefolder}}\n", "path"),
    ("digits: {download: {source: digits, path: x}}\n", "path"),
    ("digits: {download: {source: digits, url: x}}\n", "digits.download.url: unknown key"),
    (MINIMAL + "  data: {image_size: 4}\n", "digits.data.image_size"),
    (MINIMAL + "  data: {image_size: 16.5}\n", "digits.data.image_size"),
    (MINIMAL + "  data: {validation_fraction: 0.9}\n", "digits.data.validation_fraction"),
    (MINIMAL + "  data: {mean: [0.5, 0.5, 0.5]}\n", "std"),
    (MINIMAL + "  data: {mean: [1, 1], std: [1, 1]}\n", "digits.data.mean"),
    (MINIMAL + "  data: {mean: [0, 0, 0], std: [0, 0, 0]}\n", "digits.data.std"),
    (MINIMAL + "  model: {stem: tiny}\n", "digits.model.stem"),
    (MINIMAL + "  model: {name: 18}\n", "digits.model.name"),
    (MINIMAL + "  training: {epochs: 0}\n", "digits.training.epochs"),
    (MINIMAL + "  training: {epochs: many}\n", "digits.training.epochs"),
    (MINIMAL + "  training: {epochs: true}\n", "digits.training.epochs"),
    (MINIMAL + "  training: {batch_size: -8}\n", "digits.training.batch_size"),
    (MINIMAL + "  training: {learning_rate: 0}\n", "digits.training.learning_rate"),
    (MINIMAL + "  training: {learning_rate: .inf}\n", "digits.training.learning_rate"),
    (MINIMAL + "  training: {learning_rate: .nan}\n", "digits.training.learning_rate"),
    (MINIMAL + "  training: {momentum: 1}\n", "digits.training.momentum"),
    (MINIMAL + "  training: {momentum: 0}\n", "nesterov"),
    (MINIMAL + "  training: {nesterov: maybe}\n", "digits.training.nesterov"),
    (MINIMAL + "  training: {weight_decay: -1}\n", "digits.training.weight_decay"),
    (MINIMAL + "  training: {schedule: linear}\n", "digits.training.schedule"),
    (MINIMAL + "  training: {milestones: [150, 75]}\n", "must increase"),
    (MINIMAL + "  training: {milestones: 75}\n", "digits.training.milestones"),
    (MINIMAL + "  training: {gamma: 2}\n", "digits.training.gamma"),
    (MINIMAL + "  training: {warmup_epochs: 200}\n", "warmup_epochs"),
    (MINIMAL + "  training: {mix_prob: 1.5}\n", "digits.training.mix_prob"),
    (MINIMAL + "  training: {mix_start: -1}\n", "digits.training.mix_start"),
    (MINIMAL + "  training: {epochs: 3, mix_start: 3}\n", "fewer than `epochs`"),
    (MINIMAL + "  training: {mix_start: 3, mix_off_epoch: 3}\n", "above `mix_start`"),
    (MINIMAL + "  training: {augment: mirror}\n", "digits.training.augment"),
    (MINIMAL + "  training: {precision: fp8}\n", "digits.training.precision"),
    (MINIMAL + "  training: {sample_epochs: [-1]}\n", "digits.training.sample_epochs"),
    (MINIMAL + "  trainig: {}\n", "digits.trainig: unknown key"),
    (MINIMAL + "  training: []\n", "digits.training"),
    (MINIMAL + "  training: {epochs: 2026-01-01}\n", "digits"),
]


@pytest.mark.parametrize(("text", "culprit"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_a_bad_file_is_one_line_that_names_the_culprit(params, text, culprit):
    with pytest.raises(UserError) as caught:
        load_params(params(text))
    message = str(caught.value)
    assert culprit in message
    assert "params.yaml" in message
    assert "\n" not in message


@pytest.mark.parametrize("override", ["epochs", "=3", "digits..x=1", "digits.training.epochs.x=1"])
def test_a_bad_override_is_named(params, override):
    with pytest.raises(UserError, match=r"--set|epochs"):
        load_params(params(MINIMAL + "  training: {epochs: 3}\n"), [override])


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("digits.training.epoch=1", "digits.training.epoch: unknown key, did you mean 'epochs'"),
        ("evaluation.part=[]", "did you mean 'parts'"),
        ("ablation.method=[none]", "did you mean 'methods'"),
        ("digts.training.epochs=1", "did you mean 'digits'"),
        ("seed=[1]", "did you mean 'seeds'"),
    ],
)
def test_a_misspelt_key_suggests_the_nearest(params, override, hint):
    text = MINIMAL + "ablation: {experiment: digits, methods: [none]}\n"
    with pytest.raises(UserError) as caught:
        load_params(params(text), [override])
    assert hint in str(caught.value)


def test_an_option_wins_over_an_override_and_is_named_if_it_is_wrong(params):
    path, options = params(), {"digits.training.epochs": ("--epochs", 3)}
    loaded = load_params(path, ["digits.training.epochs=2"], options)
    assert loaded.experiment("digits").training.epochs == 3
    with pytest.raises(UserError, match=r"^--epochs: digits\.training\.epochs: .*, not 0"):
        load_params(path, [], {"digits.training.epochs": ("--epochs", 0)})
    with pytest.raises(UserError, match=r"^params\.yaml: digits\.training\.gamma"):
        load_params(path, ["digits.training.gamma=2"], options)


def test_the_file_is_read_once(params, monkeypatch):
    path, reads = params(), []
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda p, *a, **k: reads.append(p) or read(p, *a, **k))
    load_params(path, ["seeds=[1]"], {"digits.training.epochs": ("--epochs", 3)})
    assert reads == [path]


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the repository"):
        load_params(tmp_path / "params.yaml")


def _one_line(error: UserError) -> None:
    assert "\n" not in str(error)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_crash(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_params(path)
    except UserError as error:
        _one_line(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = ("seeds", "mix", "evaluation", "digits", "experiments", "ablation", "new")


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
def test_no_structure_makes_the_reader_crash(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "params.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        load_params(path)
    except UserError as error:
        _one_line(error)


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


def test_an_unknown_method_suggests_the_nearest(params):
    with pytest.raises(UserError, match="did you mean 'saliencymixplus'"):
        load_params(params()).mix("saliencymixpluss")


def test_a_recipe_names_its_method(params):
    loaded = load_params(params(), ["mix.mine={method: cutmix}"])
    assert loaded.mix("mine").method == "cutmix"
    assert loaded.mix("mine").name == "mine"


SWITCH = "mix:\n  weak: {method: cutmix, alpha: 0.2}\n  both: {switch: {weak: 0.25, mixup: 0.75}}\n"


def test_a_switch_names_recipes_and_probabilities(params):
    mix = load_params(params(MINIMAL + SWITCH)).mix("both")
    assert (mix.name, mix.method, mix.methods) == ("both", "switch", ("cutmix", "mixup"))
    (p, mixup), (q, weak) = mix.members
    assert (p, mixup.name, mixup.options) == (
        0.75,
        "mixup",
        load_params(params()).mix("mixup").options,
    )
    assert (q, weak.name, weak.method, weak.options["alpha"]) == (0.25, "weak", "cutmix", 0.2)
    assert mix.flat_options["weak.alpha"] == 0.2
    assert create(mix.method, **mix.options).probabilities == (0.75, 0.25)
    plain = load_params(params()).mix("cutmix")
    assert plain.members == ((1.0, plain),)
    assert plain.flat_options == plain.options


def test_an_option_of_a_member_counts_in_the_digest_of_a_switch(params):
    digests = {
        settings_digest(
            load_params(params(MINIMAL + SWITCH), given).run("digits", "both", 0), "data"
        )
        for given in (
            [],
            ["mix.mixup.alpha=0.3"],
            ["mix.both.switch.weak=0.5", "mix.both.switch.mixup=0.5"],
            ["mix.gridmix.alpha=0.3"],  # of no member
        )
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("switch", "culprit"),
    [
        ("{weak: 0.5, mixup: 0.4}", "mix.both.switch: .* sum to 0.9"),
        ("{weak: 0.5, mixpu: 0.5}", "did you mean 'mixup'"),
        ("{weak: 0.5, both: 0.5}", "'both' is a switch itself"),
        ("{weak: 1}", "two or more members"),
        ("[weak, mixup]", "give probabilities by recipe"),
        ("{weak: 0.5, mixup: many}", "mixup: a probability .* not 'many'"),
        ("{weak: 0.5, mixup: 0.5}, alpha: 0.2", "'alpha' is an option of a member"),
    ],
)
def test_a_switch_that_cannot_be_is_one_line(params, switch, culprit):
    text = MINIMAL + SWITCH.replace("{weak: 0.25, mixup: 0.75}", switch)
    with pytest.raises(UserError, match=culprit) as error:
        load_params(params(text)).mix("both")
    _one_line(error.value)


@pytest.mark.parametrize(
    "members",
    [
        None,
        {"a": 1},
        {"a": {"method": "cutmix"}},
        {"a": {"probability": 2, "method": "cutmix"}},
        {"../a": {"probability": 1, "method": "cutmix"}},
    ],
)
def test_a_recorded_switch_without_its_members_is_refused(members):
    with pytest.raises(ValidationError):
        MixSettings(name="both", method="switch", options={"members": members})
