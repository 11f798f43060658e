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
    in a CUDA graph, and must give finite results for maps that are zero, as in steps without a
    saliency pass, or not finite. Hooks must be functions at module level, so that a mixer can be
    pickled.

    The file may import from other methods' files and from shared helpers, ``methods/_NAME.py``:
    what it imports counts as part of the method when a run is resumed.
    """

    name: str  # of its file; used in settings, on the command line and in run folders
    label: str  # in figures and tables, e.g. "CutMix"
    year: int | None  # of publication, sorts lists; 0: plain training, None: undated, last
    summary: str  # a few words for lists
    paper: str  # arXiv number, venue or URL
    options: type[Options]
    apply: Apply | None  # None: batches are not mixed
    # The method's own maps (B, H, W), unless the caller gives saliency=.
    maps: Callable[[Batch, Any], Tensor] | None = None
    # Partners (M,) int64 that replace the drawn ones, or None to keep those.
    pair: Callable[[Batch, Tensor | None, Any], Tensor | None] | None = None
    # (network, images (B, C, H, W), options) → a module that is trained along with the network.
    part: Callable[[nn.Module, Tensor, Any], nn.Module] | None = None
    # (batch, draw, options, part) → the scalar loss of that module; it passes images through
    # ``Batch.model``.
    part_loss: Callable[[Batch, Draw, Any, nn.Module], Tensor] | None = None
    # (batch, draw, options, part or None) → ``Sources.plan``: what needs the network or the part,
    # or has too many small operations to compile. Not compiled.
    plan: Callable[[Batch, Draw, Any, Any], Any] | None = None
    # (options, H, W) → shape of the standard normal numbers drawn per sample.
    noise: Callable[[Any, int, int], tuple[int, ...]] | None = None
    # The mixed forward pass, if it is more than model(mixed.images): it may mix activations, with
    # the tensors in ``Blend.aux``, or return the batch with another label.
    forward: Callable[[nn.Module, MixedBatch, Any], tuple[Any, MixedBatch]] | None = None
    # Gradient (B, C, H, W) → saliency map (B, H, W).
    aggregate: Callable[[Tensor], Tensor] = absolute_sum
    second_lam0: bool = False  # also draw ``Draw.lam1``
    # Presets for `create` and --mix-aug: name → options that differ from the defaults. The registry
    # adds NAME-published if the options have a published variant.
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
