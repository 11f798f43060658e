"""``test_crop: center``: training, evaluation, prediction, files and MLflow models agree on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.inference.collect import pictures
from saliencymixplus.inference.export import export
from saliencymixplus.inference.predict import Predictor
from saliencymixplus.runs.read import load_run
from saliencymixplus.serving.pyfunc import ServedClassifier
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.tracking.mlflow_model import _facts
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, write_prepared


# Odd margins: 5 // 2 is round(2.5), but 7 // 2 is not round(3.5).
@pytest.mark.parametrize("size", [13, 15])
def test_all_classify_the_central_pixels(
    size: int, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    prepared = write_prepared(tmp_path / "prepared", size=size)
    settings = run_settings("none", epochs=1, crop_size=8, test_crop="center")
    train(settings, prepared, tmp_path / "run", runtime)
    run, split = load_run(tmp_path / "run"), load_prepared(prepared).split("test")
    pixels = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2) / 255
    centre = tv.center_crop(pixels, [8, 8])
    expected = tv.normalize(centre, list(run.data.mean), list(run.data.std))
    with torch.no_grad():
        logits = run.model("last")(expected)

    errors = (logits.argmax(1).numpy() != split.labels).mean()
    assert run.history[0].test_top1_error == pytest.approx(100 * errors)

    mean, std = run.data.mean, run.data.std
    classifier = PixelClassifier(run.model("last"), mean, std, 8, center=True)
    found = predict_logits(classifier, split.images, 16)
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=0)
    seen = classifier.seen(split.images[..., 0])
    np.testing.assert_array_equal(seen, (255 * centre[:, 0]).round().byte())

    Image.fromarray(split.images[3]).save(tmp_path / "3.png")
    (one,) = Predictor(run, "last", torch.device("cpu"))(pictures([tmp_path / "3.png"]), 3)
    best = logits[3].softmax(0).sort(descending=True)
    assert one.probabilities == pytest.approx(best.values.tolist(), abs=1e-5)
    served = ServedClassifier(run.model("last"), _facts(run)).predict(np.array(split.images[3]))
    assert served["probabilities"][0] == pytest.approx(best.values.tolist(), abs=1e-5)

    for form in ("pt2", "torchscript"):
        made = export(run, "last", form, tmp_path / form, np.array(split.images[:5]))
        assert made["largest_difference"] < 1e-5


def test_a_centre_larger_than_the_images_is_refused(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    settings = run_settings("none", augment="crop", crop_size=9, test_crop="center")
    with pytest.raises(UserError, match="crop_size 9 with test_crop center is larger"):
        train(settings, tiny, tmp_path / "run", runtime)
