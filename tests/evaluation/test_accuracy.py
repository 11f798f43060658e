"""Errors, ranks and the confusion matrix, against torchmetrics, scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

from saliencymixplus.evaluation import accuracy


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 12, generator=generator)
    labels = torch.randint(0, 12, (200,), generator=generator)
    logits[torch.arange(200), labels] += 1.0
    return logits, labels


def test_errors_agree_with_torchmetrics_and_sklearn(batch):
    logits, labels = batch
    found = accuracy.errors(logits, labels)
    top1 = multiclass_accuracy(logits, labels, 12, average="micro")
    top5 = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=5, labels=range(12))
    probabilities = logits.double().softmax(1).numpy()
    assert found["top1_error"] == pytest.approx(100 * (1 - float(top1)), abs=1e-4)
    assert found["top5_error"] == pytest.approx(100 * (1 - top5))
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities, labels=range(12)))


def test_ranks_by_hand():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]])
    assert accuracy.ranks(logits, torch.tensor([0, 0, 0])).tolist() == [0, 2, 1]


def test_tied_logits_rank_as_argmax_has_it():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randint(0, 3, (500, 6), generator=generator).float()
    labels = torch.randint(0, 6, (500,), generator=generator)
    right = accuracy.ranks(logits, labels) == 0
    assert torch.equal(right, logits.argmax(1) == labels)


def test_all_logits_equal_is_no_perfect_score():
    labels = torch.arange(10)
    assert accuracy.errors(torch.zeros(10, 10), labels)["top1_error"] == pytest.approx(90)


def test_nan_counts_as_wrong():
    logits = torch.full((4, 3), torch.nan)
    assert accuracy.top_error(accuracy.ranks(logits, torch.zeros(4, dtype=torch.long)), 1) == 100


def test_per_class_by_hand():
    logits = torch.eye(3)[[0, 1, 1, 2, 2, 2]]
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    rows = accuracy.per_class(logits, labels, ["a", "b", "c"])
    assert [row["images"] for row in rows] == [3, 2, 1]
    assert [row["top1_error"] for row in rows] == pytest.approx([200 / 3, 100, 0])
    assert [row["most_taken_for"] for row in rows] == ["b", "c", None]
    assert [row["times"] for row in rows] == [2, 2, 0]


def test_per_class_agrees_with_torchmetrics(batch):
    logits, labels = batch
    rows = accuracy.per_class(logits, labels, [f"c{i}" for i in range(12)])
    top1 = multiclass_accuracy(logits, labels, 12, average=None)
    top5 = multiclass_accuracy(logits, labels, 12, average=None, top_k=5)
    assert [row["top1_error"] for row in rows] == pytest.approx((100 * (1 - top1)).tolist())
    assert [row["top5_error"] for row in rows] == pytest.approx((100 * (1 - top5)).tolist())


def test_class_without_test_images_has_no_error():
    rows = accuracy.per_class(torch.eye(3)[[0]], torch.tensor([0]), ["a", "b", "c"])
    assert rows[1]["images"] == 0
    assert rows[1]["top1_error"] is None


def test_confusion_pairs_are_one_row_an_image(batch):
    logits, labels = batch
    names = [f"c{i}" for i in range(12)]
    pairs = accuracy.confusion_pairs(logits, labels, names)
    wrong = np.mean([pair["actual"] != pair["predicted"] for pair in pairs])
    assert len(pairs) == 200
    assert 100 * wrong == pytest.approx(accuracy.errors(logits, labels)["top1_error"])
    assert pairs[0]["actual"] == names[int(labels[0])]
    matrix = confusion_matrix(
        [pair["actual"] for pair in pairs], [pair["predicted"] for pair in pairs], labels=names
    )
    assert np.array_equal(matrix, confusion_matrix(labels, logits.argmax(1), labels=range(12)))
