"""A mistake in params.yaml or an override is one line that names it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliencymixplus.errors import UserError
from saliencymixplus.settings import load_params
from tests.settings.minimal import MINIMAL, one_line

BAD = [
    ("", "must be a mapping"),
    ("- a\n", "must be a mapping"),
    ("a: [", "not valid YAML"),
    ("a: 1\na: 2\n", 'not valid YAML: line 2: found duplicate key "a"'),
    ("a:\n\tb: 1\n", "not valid YAML: line 2: found character"),
    ("experimnts: [digits]\n" + MINIMAL, "did you mean 'experiments'"),
    ("experiments: [digit]\n" + MINIMAL, "did you mean 'digits'"),
    ("experiments: digits\n" + MINIMAL, "experiments"),
    ("methods: []\n" + MINIMAL, "methods: empty: name at least one"),
    ("seeds: []\n" + MINIMAL, "seeds: empty: name at least one"),
    ("methods: [none, cutmix, none]\n" + MINIMAL, "methods: 'none' is listed twice"),
    ("evaluation: {epsilons: [1, 1.0]}\n" + MINIMAL, "evaluation.epsilons: 1.0 is listed twice"),
    ("methods: [Mine, mine]\n" + MINIMAL, "methods: 'Mine' and 'mine' differ only in case"),
    ("mix: {Mine: {}, mine: {}}\n" + MINIMAL, "mix: 'Mine' and 'mine' differ only in case"),
    (MINIMAL + MINIMAL.replace("digits:", "Digits:", 1), "'digits' and 'Digits' differ only in"),
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
    (
        MINIMAL + "  model: {zero_init_residual: true, weights: pretrained}\n",
        "digits.model: `zero_init_residual` has no effect with `weights`",
    ),
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
    (MINIMAL + "  training: {epochs: 3, mix_start: 3}\n", "below `epochs`"),
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


@pytest.mark.parametrize("content", [b"# \xe9\n", MINIMAL.encode("utf-16")])
def test_another_encoding_is_named(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"params\.yaml: it is not UTF-8, save it as such"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "change", [lambda text: "\ufeff" + text, lambda t: t.replace("\n", "\r\n")]
)
def test_what_editors_on_windows_write_is_read(params, change):
    assert load_params(params(change(MINIMAL))).sections.keys() == {"digits"}


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the repository"):
        load_params(tmp_path / "params.yaml")


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_crash(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_params(path)
    except UserError as error:
        one_line(error)


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
        one_line(error)
