"""Fine-grained saliency maps against OpenCV and on images with a known answer."""

import cv2
import numpy as np
import pytest

from saliencymixplus.datasets.fine_grained import fine_grained
from saliencymixplus.errors import UserError


def test_maps_are_opencvs_of_the_true_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 40, 3), dtype=np.uint8)
    maps = fine_grained(images)
    assert maps.shape == (3, 24, 40)
    assert maps.dtype == np.uint8
    detector = cv2.saliency.StaticSaliencyFineGrained_create()
    for image, found in zip(images, maps, strict=True):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        expected = (detector.computeSaliency(bgr)[1] * 255).astype(np.uint8)
        np.testing.assert_array_equal(found, expected)


def test_a_bright_object_is_salient_and_a_uniform_image_is_not() -> None:
    images = np.full((2, 48, 48, 3), 60, np.uint8)
    images[0, 30:38, 8:16] = 230
    maps = fine_grained(images).astype(float)
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert 30 <= row < 38
    assert 8 <= column < 16
    assert maps[0, 30:38, 8:16].mean() > 2 * maps[0].mean()
    assert not maps[1].any()


def test_other_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        fine_grained(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]


def test_an_opencv_without_contrib_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "saliency")
    with pytest.raises(UserError, match=r"pip uninstall .*opencv-contrib-python"):
        fine_grained(np.zeros((1, 8, 8, 3), np.uint8))
