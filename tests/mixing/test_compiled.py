"""Every method compiles to one graph, and captures into a CUDA graph."""

from typing import Any

import pytest
import torch
from torch import nn

from saliencymixplus import mixing
from tests.helpers import maps_for
from tests.mixing.networks import network_for

# SaliencyMix's float_bytes calls OpenCV on the CPU by definition, and is left out.
METHODS: list[tuple[str, dict[str, Any]]] = [
    *[(name, {}) for name in mixing.METHODS],
    ("cutmix", {"box": "sample", "box_size": "exact"}),
    ("mixup", {"lam0": "sample", "alpha": 0.4}),
    ("resizemix", {"box": "sample"}),
    ("fmix", {"mask": "sample"}),
    ("gridmix", {"mask": "sample"}),
    ("smoothmix", {"mask": "sample"}),
    ("saliencymixplus", {"variant": "published"}),
    ("saliencymixplus", {"position": "mass", "smoothing": 1.0}),
    ("saliencymixplus", {"position": "sampled"}),
    ("saliencymixplus", {"position": "random", "label": "area"}),
]
every_method = pytest.mark.parametrize(
    ("method", "options"),
    [pytest.param(*m, marks=pytest.mark.slow if m[1] else ()) for m in METHODS],
    ids=["-".join([name, *map(str, options.values())]) for name, options in METHODS],
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
DETERMINED = {"none", "guidedsr", "guidedap"}  # their partners follow from the maps


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def batch(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.randn(6, 3, 12, 16, device=device)
    labels = torch.arange(6, device=device)
    return images, labels, torch.rand(6, 12, 16, device=device)


def check_compiled(method: str, options: dict[str, Any], backend: str) -> None:
    torch._dynamo.reset()
    mixer = mixing.create(method, **options)
    images, labels, maps = batch()
    given = maps_for(mixer, maps)
    logits = torch.randn(6, 10)

    def mix(images: Any, labels: Any, given: Any, draw: mixing.Draw | None) -> Any:
        mixed = mixer(images, labels, draw=draw, **given)
        return mixed.images, mixed.lam, mixed.labels_b, mixed.loss(logits[: len(mixed.lam)])

    if mixing.METHODS[method].plan is None:
        compiled = torch.compile(mix, fullgraph=True, backend=backend)
    else:  # looks at the network outside the graph
        compiled, mixer = mix, mixer.compiled(fullgraph=True, backend=backend)
    draw = mixer.draw(6, 12, 16, generator=torch.Generator().manual_seed(4))
    expected = mix(images, labels, given, draw)
    for ours, theirs in zip(compiled(images, labels, given, draw), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    found = [compiled(images, labels, given, None) for _ in range(6)]
    sums = {(mixed.sum().item(), lam.sum().item()) for mixed, lam, *_ in found}
    assert len(sums) > 1 or method in DETERMINED


@every_method
def test_one_graph(method: str, options: dict[str, Any]) -> None:
    check_compiled(method, options, "eager")


@pytest.mark.slow
@every_method
def test_one_graph_by_inductor(method: str, options: dict[str, Any]) -> None:
    check_compiled(method, options, "inductor")


def test_compiling_a_mixer_leaves_the_plain_one_as_it_is() -> None:
    torch._dynamo.reset()
    graphs: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    plain = mixing.create("cutmix")
    compiled = plain.compiled(backend=counting)
    images, labels, _ = batch()
    draw = plain.draw(6, 12, 16)
    for mixer, count in ((plain, 0), (compiled, 1)):
        assert torch.equal(mixer(images, labels, draw=draw).labels_b, labels[draw.index_b])
        assert len(graphs) == count


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_compiled_network_steps_as_the_plain_one(variant: str) -> None:
    torch._dynamo.reset()
    images, labels, _ = batch()
    mixer = mixing.create("saliencymixplus", variant=variant)
    draw = mixer.draw(6, 12, 16)
    plain, bare = network(), network()
    compiled = torch.compile(bare, fullgraph=True, backend="aot_eager")
    expected = mixing.backward(plain, mixer, images, labels, draw=draw)
    step = mixing.backward(compiled, mixer, images, labels, draw=draw, saliency_model=bare)
    torch.testing.assert_close(step.loss, expected.loss)
    for ours, theirs in zip(bare.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(dict(bare.named_buffers()), dict(plain.named_buffers()))


@pytest.mark.skipif(
    not hasattr(torch._dynamo.config, "trace_autograd_ops"),
    reason="this torch cannot compile torch.autograd.grad",
)
def test_one_graph_with_its_saliency_pass() -> None:
    torch._dynamo.reset()
    images, labels, _ = batch()
    mixer, model = mixing.create("saliencymixplus"), network()
    draw = mixer.draw(6, 12, 16)

    def mix(images: Any, labels: Any, draw: mixing.Draw) -> Any:
        mixed = mixer(images, labels, model=model, draw=draw)
        return mixed.images, mixed.lam, mixed.saliency

    expected = mix(images, labels, draw)
    compiled = torch.compile(mix, fullgraph=True, backend="aot_eager")
    # Not by monkeypatch, which would delete the setting: it is no plain attribute of its module.
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        torch.testing.assert_close(compiled(images, labels, draw), expected)
    assert all(module.training for module in model.modules())


@needs_gpu
@every_method
def test_a_whole_step_captures(method: str, options: dict[str, Any]) -> None:
    """A captured step replays as the eager one, with fresh random numbers at every replay."""
    images, labels, maps = batch("cuda")
    images, maps = images[..., :12].contiguous(), maps[..., :12].contiguous()
    mixer = mixing.create(method, **options)
    given = {"saliency": maps} if mixer.needs_saliency else {}
    if mixer.needs_masks:
        given["masks"] = (maps > 0.5).long()
    model = network_for(method, 12).cuda()
    if mixer.trains_part:
        mixer.attach(model, images)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    draw = mixer.draw(6, 12, 12, device="cuda")

    def run(fixed: mixing.Draw | None) -> mixing.Step:
        for parameter in model.parameters():
            parameter.grad.zero_()
        return mixing.backward(model, mixer, images, labels, draw=fixed, **given)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run(draw)
            run(None)
    torch.cuda.current_stream().wait_stream(side)
    expected = run(draw)
    wanted = [p.grad.clone() for p in model.parameters()]
    fixed, free = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(fixed):
        captured = run(draw)
    fixed.replay()
    torch.testing.assert_close(captured.loss, expected.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close([p.grad for p in model.parameters()], wanted, rtol=1e-3, atol=1e-5)
    with torch.cuda.graph(free):
        random = run(None)
    seen = set()
    for _ in range(8):
        free.replay()
        seen.add(round(random.loss.item(), 6))
    assert len(seen) > 1 or method in DETERMINED


@needs_gpu
@every_method
def test_mixing_never_waits_for_the_device(method: str, options: dict[str, Any]) -> None:
    images, labels, maps = batch("cuda")
    mixer = mixing.create(method, **options)
    given = maps_for(mixer, maps)
    mixer(images, labels, **given)  # libraries load
    torch.cuda.set_sync_debug_mode("error")
    try:
        mixer(images, labels, **given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
