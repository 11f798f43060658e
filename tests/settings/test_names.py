"""Names of recipes and experiments are checked by one function wherever they enter."""

import pytest
from pydantic import ValidationError

from saliencymixplus.errors import UserError
from saliencymixplus.settings import MixSettings, RunSettings, load_params
from saliencymixplus.settings.names import check_name
from tests.helpers import run_settings

GOOD = ["cutmix", "étoile", "Grünfink_2", "数据", "plus-half-pairs", "0"]
BAD = ["", "a b", "cut/b", "../esc", "..", ".hidden", "cutmix-0.5", "-x", "a\\b", "a\nb", "a\0b",
       "a:b", "x" * 101, "a\u202eb", "é".encode().decode("latin1") + "©"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_letters_digits_hyphen_and_underscore_are_allowed(name, tmp_path):
    assert check_name(name) == name
    path = tmp_path / "params.yaml"
    path.write_text(f"'{name}':\n  download: {{source: digits}}\nmix: {{'{name}': {{}}}}\n")
    assert set(load_params(path).sections) == set(load_params(path).top.mix) == {name}


@pytest.mark.parametrize("name", BAD)
def test_everything_else_is_refused_wherever_a_name_enters(name):
    with pytest.raises(ValueError, match="a name"):
        check_name(name)
    with pytest.raises(ValidationError, match="a name"):
        MixSettings(name=name, method="cutmix")
    with pytest.raises(ValidationError, match="a name"):
        RunSettings.model_validate(run_settings().model_dump() | {"experiment": name})


@pytest.mark.parametrize("name", ["cutmix-0.5", "my cut", "cut/b", "../esc"])
@pytest.mark.parametrize("text", ["mix: {{{!r}: {{}}}}", "{!r}: {{download: {{source: digits}}}}"])
def test_params_yaml_is_refused_at_load(name, text, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text.format(name))
    with pytest.raises(UserError, match="letters") as caught:
        load_params(path)
    assert name in str(caught.value)
    assert "params.yaml" in str(caught.value)
