"""The contract between the mixer and a mixing method; docs/extend.md shows how to add one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from saliencymixplus.mixing.batch import Batch, Blend, MixedBatch, Sources
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.options import Options
from saliencymixplus.mixing.saliency import absolute_sum

Apply = Callable[[Sources, Draw, Any], Blend]


@dataclass(frozen=True)
class Method:
    """A mixing method, declared as ``METHOD`` by a file in ``mixing/methods``.

    The mixer draws the random numbers, checks the input, selects the partners, calls ``apply``
    under ``no_grad`` without autocast, and fills in the rest of the ``MixedBatch``. ``apply`` must
    neither wait for the device nor branch on tensors, so that a step can be compiled and captured
    in a CUDA graph, and must give finite results for maps that are zero or not finite: steps
    without a saliency pass give zeros. Hooks are functions at module level, so that a mixer can be
    pickled.

    A file may import from another method's or from a shared helper, ``methods/_NAME.py``: what it
    imports from ``methods/`` counts as part of the method when a run is resumed.
    """

    name: str  # its file's name; in settings, on the command line and in run folders
    label: str  # in figures and tables, e.g. "CutMix"
    year: int | None  # of publication, the order of lists; 0: plain training, None: undated, last
    summary: str  # a few words for lists
    paper: str  # arXiv number, venue or URL
    options: type[Options]
    apply: Apply | None  # None: the batch stays as it is
    # Maps (B, H, W) of the method's own, unless the caller gives saliency=.
    maps: Callable[[Batch, Any], Tensor] | None = None
    # Partners (M,) int64 in place of the drawn ones; None keeps those.
    pair: Callable[[Batch, Tensor | None, Any], Tensor | None] | None = None
    # A module that is trained along with the network: (network, images (B, C, H, W), options).
    part: Callable[[nn.Module, Tensor, Any], nn.Module] | None = None
    # Its loss, a scalar. The batch's model is the one that looks at the images.
    part_loss: Callable[[Batch, Draw, Any, nn.Module], Tensor] | None = None
    # ``Sources.plan``: what takes the network, the trained part (None without ``part``) or too many
    # small steps to compile. Not compiled.
    plan: Callable[[Batch, Draw, Any, Any], Any] | None = None
    # (options, H, W) → shape of the standard normal numbers drawn per sample.
    noise: Callable[[Any, int, int], tuple[int, ...]] | None = None
    # The mixed forward pass where it is more than model(mixed.images): it may mix activations,
    # with the tensors in ``Blend.aux``, or return the batch with another label.
    forward: Callable[[nn.Module, MixedBatch, Any], tuple[Any, MixedBatch]] | None = None
    # How a gradient (B, C, H, W) becomes a map (B, H, W).
    aggregate: Callable[[Tensor], Tensor] = absolute_sum
    second_lam0: bool = False  # also draw ``Draw.lam1``
    # Name → options that differ: presets known to `create` and --mix-aug. The registry adds
    # NAME-published where the options have a published variant.
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
