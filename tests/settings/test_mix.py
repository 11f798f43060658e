"""Mixing recipes and switches."""

import pytest
from pydantic import ValidationError

from saliencymixplus.errors import UserError
from saliencymixplus.mixing import create
from saliencymixplus.settings import MixSettings, load_params, settings_digest
from tests.settings.minimal import MINIMAL, one_line


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
    one_line(error.value)


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
