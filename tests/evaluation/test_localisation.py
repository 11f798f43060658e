"""Class activation maps against Zhou's formula; their scores against hand counts."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu
from torchmetrics.functional.classification import binary_jaccard_index
from torchvision.models import VisionTransformer

from saliencymixplus.evaluation.classifier import PixelClassifier
from saliencymixplus.evaluation.localisation import (
    class_activation_maps,
    feature_module,
    localisation_per_class,
    localisation_rows,
)
from saliencymixplus.evaluation.map_agreement import measures
from saliencymixplus.models import create_model

MEAN, STD = (0.5,) * 3, (0.25,) * 3


@pytest.fixture
def pixels():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_gradcam_is_the_class_activation_map_of_zhou(pixels):
    torch.manual_seed(0)
    model = create_model("resnet8", 5, 16)
    classifier = PixelClassifier(model, MEAN, STD, 16)
    labels = torch.tensor([0, 1, 2, 3])
    module = feature_module(classifier, pixels)
    found = class_activation_maps(classifier, pixels, labels, module)
    features = []
    hook = model.layer3.register_forward_hook(lambda *a: features.append(a[2]))
    classifier(pixels)
    hook.remove()
    # Zhou et al. 2016, eq. 2: the features weighted by the class's row of the last layer.
    expected = torch.einsum("bk,bkhw->bhw", model.fc.weight[labels], features[0]).relu()
    height, width = expected.shape[1:]
    assert torch.allclose(found, expected.detach() / (height * width), atol=1e-5)


def test_gradcam_is_captums(pixels):
    attribution = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    classifier = PixelClassifier(create_model("resnet18", 5, 16), MEAN, STD, 16)
    labels = torch.tensor([0, 1, 2, 3])
    module = feature_module(classifier, pixels)
    found = class_activation_maps(classifier, pixels, labels, module)
    library = attribution.LayerGradCam(classifier, classifier.model.get_submodule(module))
    expected = library.attribute(pixels, target=labels, relu_attributions=True)[:, 0]
    assert torch.allclose(found, expected, atol=1e-6)
    assert float(found.max()) > 0


class ChannelsLast(nn.Module):
    """Returns (B, h, w, C)."""

    def forward(self, maps):
        return maps.permute(0, 2, 3, 1)


@pytest.mark.parametrize("declared", [{"output_fmt": "NHWC"}, {"num_features": 6}])
def test_gradcam_reads_channels_where_the_network_keeps_them(pixels, declared):
    """As timm's MambaOut and NesT do; the twin with channels first gives the same maps."""
    torch.manual_seed(0)
    stem, head = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(6, 5)
    first = nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.last, self.head = stem, ChannelsLast(), head
            self.__dict__ |= declared

        def forward(self, images):
            return self.head(self.last(self.stem(images)).mean((1, 2)))

    labels, found = torch.tensor([0, 1, 2, 3]), []
    for network, name in ((first, "0"), (Last(), "last")):
        classifier = PixelClassifier(network, MEAN, STD, 16)
        assert feature_module(classifier, pixels) == name
        found.append(class_activation_maps(classifier, pixels, labels, name))
    torch.testing.assert_close(found[1], found[0])


def test_tokens_within_a_network_do_not_hide_its_last_feature_map(pixels):
    """Swin's attention works on tokens; the maps between its blocks are (B, h, w, C)."""
    timm = pytest.importorskip("timm")
    size = {"img_size": 16, "window_size": 2, "embed_dim": 8, "num_classes": 5}
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", **size, depths=(1, 1), num_heads=(2, 2)
    )
    classifier = PixelClassifier(model, MEAN, STD, 16)
    labels = torch.tensor([0, 1, 2, 3])
    module = feature_module(classifier, pixels)
    found = class_activation_maps(classifier, pixels, labels, module)
    features = model.forward_features((pixels - 0.5) / 0.25)
    # Average pooling and one linear layer follow: Zhou's formula.
    expected = torch.einsum("bk,bhwk->bhw", model.head.fc.weight[labels], features).relu()
    torch.testing.assert_close(found, expected.detach() / expected[0].numel())


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [("resnet18", 32, 4), ("mobilenet_v3_small", 64, 4), ("squeezenet1_1", 64, 16)],
)
def test_last_feature_map_is_found_in_other_networks(name, size, side):
    classifier = PixelClassifier(create_model(name, 5, size), MEAN, STD, size)
    pixels = torch.rand(2, 3, size, size)
    module = feature_module(classifier, pixels)
    maps = class_activation_maps(classifier, pixels, torch.tensor([0, 1]), module)
    assert maps.shape == (2, side, side)
    assert float(maps.min()) >= 0


def test_a_map_that_is_changed_in_place_is_that_of_the_layer(pixels):
    """As by torchvision's DenseNet; the twin that copies gives the same maps."""

    class Dense(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            torch.manual_seed(0)
            self.inplace, self.features, self.head = inplace, nn.Conv2d(3, 6, 3, 2), nn.Linear(6, 5)

        def forward(self, images):
            return self.head(relu(self.features(images), self.inplace).mean((2, 3)))

    found = []
    for inplace in (True, False):
        classifier = PixelClassifier(Dense(inplace), MEAN, STD, 16)
        labels = torch.tensor([0, 1, 2, 3])
        found.append(class_activation_maps(classifier, pixels, labels, "features"))
    assert torch.equal(*found)
    assert float(found[0].max()) > 0


def test_a_network_of_tokens_has_none(pixels):
    model = VisionTransformer(16, 8, 1, 2, 16, 16, num_classes=5)
    assert feature_module(PixelClassifier(model, MEAN, STD, 16), pixels) is None


def test_a_network_without_map_is_a_reason_not_a_figure():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    classifier = PixelClassifier(model, MEAN, STD, 2)
    images, masks = np.zeros((2, 2, 2, 3), np.uint8), np.eye(2, dtype=np.uint8)[None].repeat(2, 0)
    found, reason = localisation_rows(
        classifier, images, torch.tensor([0, 1]), masks, threshold=0.2, batch_size=2
    )
    assert found == {}
    assert "no feature map" in reason


def test_measures_by_hand():
    maps = torch.tensor([[[4.0, 2.0, 1.0], [0.5, 2.5, 90.0]]])
    masks = torch.tensor([[[1, 0, 1], [0, 1, 2]]])  # the last is unknown: its 90 counts nowhere
    found = measures(maps, masks, threshold=0.3)
    assert found["mask_share"] == pytest.approx([3 / 5])
    assert found["energy"] == pytest.approx([(4 + 1 + 2.5) / 10])
    assert found["pointing"] == pytest.approx([1])
    # Above 0.3 · 4 = 1.2: 4, 2 and 2.5, two of which are among the object's three pixels.
    assert found["iou"] == pytest.approx([2 / 4])


def test_iou_agrees_with_torchmetrics():
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(20, 9, 9, generator=generator)
    masks = torch.randint(0, 3, (20, 9, 9), generator=generator)
    found = measures(maps, masks, threshold=0.4)["iou"]
    for scores, mask, iou in zip(maps, masks, found, strict=True):
        peak = float(scores[mask != 2].max())
        expected = binary_jaccard_index(scores, mask, threshold=0.4 * peak, ignore_index=2)
        assert iou == pytest.approx(float(expected))


def test_a_blank_map_scores_as_chance():
    found = measures(torch.zeros(1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]), 0.2)
    assert [float(found[k][0]) for k in ("energy", "pointing", "iou")] == [0.25, 0.25, 0.0]


@pytest.mark.parametrize("value", [0, 1, 2])
def test_masks_of_one_value_say_nothing(value):
    found = measures(torch.rand(1, 2, 2), torch.full((1, 2, 2), value), 0.2)
    assert all(np.isnan(v).all() for v in found.values())


def test_a_map_that_is_the_mask_is_perfect_and_noise_is_at_chance():
    masks = (torch.rand(400, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3).long()
    perfect = measures(masks.float(), masks, 0.2)
    assert all(np.allclose(perfect[k], 1) for k in ("energy", "pointing", "iou"))
    noise = measures(torch.rand(400, 8, 8, generator=torch.Generator().manual_seed(1)), masks, 0.2)
    for name in ("energy", "pointing"):
        assert noise[name].mean() == pytest.approx(noise["mask_share"].mean(), abs=0.06)


def test_summary_by_class_leaves_out_what_has_no_mask():
    found = {"mask_share": np.array([0.5, np.nan, 0.3]), "energy": np.array([1.0, np.nan, 0.5])}
    rows = localisation_per_class(found, torch.tensor([0, 0, 2]), ["a", "b", "c"])
    assert rows == [
        {"class": "a", "images": 1, "mask_share": 0.5, "energy": 1.0},
        {"class": "c", "images": 1, "mask_share": 0.3, "energy": 0.5},
    ]
