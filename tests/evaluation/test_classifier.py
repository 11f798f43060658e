"""From uint8 images to logits: resized and normalised like torchvision."""

import numpy as np
import torch
from torch import nn
from torchvision.transforms.v2 import functional as tv

from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_pixels_are_normalised_and_resized_as_torchvision_does():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    classifier = PixelClassifier(nn.Flatten(), MEAN, STD, 28)
    found = predict_logits(classifier, images, batch_size=2).view(3, 3, 28, 28)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = tv.normalize(tv.resize(pixels, [28, 28], antialias=True), list(MEAN), list(STD))
    assert torch.allclose(found, expected, atol=1e-4)


def test_images_of_the_right_size_are_only_scaled():
    images = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    pixels = PixelClassifier(nn.Flatten(), MEAN, STD, 4).pixels(images)
    assert torch.equal(pixels, torch.from_numpy(images).permute(0, 3, 1, 2) / 255)


def test_the_network_is_evaluated_not_trained():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.9), nn.Flatten())
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8)
    before = model[1].running_mean.clone()
    classifier = PixelClassifier(model.train(), MEAN, STD, 4)
    one, two = predict_logits(classifier, images, 4), predict_logits(classifier, images, 1)
    assert torch.allclose(one, two, atol=1e-6)
    assert torch.equal(model[1].running_mean, before)
