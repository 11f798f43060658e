"""Ours and the peer library's function do the same work."""

import importlib.util
import json
from functools import partial

import numpy as np
import pytest
import torch

from saliencymixplus import mixing
from saliencymixplus.bench.clock import Clock
from saliencymixplus.bench.peers import (
    bench_peers,
    installed_pairs,
    naive_saliencymixplus,
    peers_table,
)
from saliencymixplus.mixing import Draw

TINY = ((8, 4),)


@pytest.mark.slow  # importing the libraries takes seconds
def test_every_installed_peer_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(Clock, warmup=0, round_seconds=0.0)
    monkeypatch.setattr("saliencymixplus.bench.peers.Clock", quick)
    said: list[str] = []
    result = bench_peers(device="cpu", rounds=1, say=said.append, sizes=TINY)
    assert {"torchvision", "timm"} <= result["versions"].keys()
    peers = [row["peer"] for row in result["peers"]]
    assert sum("torchvision" in peer for peer in peers) == 2
    assert sum("timm" in peer for peer in peers) == 4
    assert sum("naive" in peer for peer in peers) == 2
    assert sum("kornia" in peer for peer in peers) == (2 if "kornia" in result["versions"] else 0)
    assert all(row["ratio"] > 0 and row["peer_ms"] > 0 for row in result["peers"])
    assert len(peers_table(result).rows) == len(peers)
    json.dumps(result, allow_nan=False)


def test_a_library_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "saliencymixplus.bench.peers.find_spec",
        lambda name: found(name) if name == "torchvision" else None,
    )
    said: list[str] = []
    names = {pair.peer.split()[0] for pair in installed_pairs(said.append)}
    assert names == {"torchvision", "naive", "naive,"}
    assert [line.split()[0] for line in said] == ["timm", "kornia"]


def test_the_published_loop_is_the_published_recipe() -> None:
    """With the same draws the naive loop gives our images and labels' weights."""
    torch.manual_seed(0)
    images, labels, maps = torch.rand(6, 3, 8, 8), torch.arange(6), torch.rand(6, 8, 8) + 0.1
    torch.manual_seed(5)
    partners = torch.randperm(3) + 3
    lam0 = torch.stack([torch.rand(()) for _ in range(3)]).double()
    torch.manual_seed(5)
    found, _, labels_b, lam = naive_saliencymixplus(images, labels, maps)
    mixer = mixing.create("saliencymixplus-published", clean_gradient=0.0)
    draw = Draw(partners, lam0=lam0, centre=torch.zeros(3, 2).long(), uniform=torch.zeros(3, 2))
    mixed = mixer(images, labels, saliency=maps, draw=draw)
    assert torch.equal(found, mixed.images)
    assert labels_b.tolist() == mixed.labels_b.tolist()
    np.testing.assert_allclose(lam.numpy(), mixed.lam.numpy(), rtol=1e-5)
