"""An experiment's section of params.yaml, and the settings of one of its runs."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from saliencymixplus.settings.data import DataSettings, DownloadSettings
from saliencymixplus.settings.mix import MixSettings
from saliencymixplus.settings.names import Name
from saliencymixplus.settings.section import Section, Seed
from saliencymixplus.settings.training import TrainingSettings


class ModelSettings(Section):
    """The network and its initial weights."""

    name: str = "resnet50"
    """A network for small images (``resnet8``, ``preact_resnet18``, ``wrn28_10``, …), a torchvision
    classifier, or ``timm/NAME``. ``python cli.py models`` lists them."""
    stem: Literal["auto", "small", "standard"] = "auto"
    """First layers of a torchvision network: ``small`` keeps the resolution of small images;
    ``auto`` is small up to 64 pixels."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest probability of skipping a residual branch (stochastic depth), for networks that
    have it."""
    zero_init_residual: bool | Literal["auto"] = False
    """The last batch norm of every residual branch starts at zero instead of one, so that each
    block starts as its shortcut (Goyal et al. 2017, section 5.1). For torchvision's ResNets without
    ``weights``; timm's start at zero anyway. ``auto``: for these, and without effect on others."""
    weights: str | None = None
    """null: random. ``pretrained``: those of torchvision or timm. Otherwise a .safetensors or .pth
    file of the same network. The head is replaced if the number of classes differs. The weights'
    mean, std and input size are used unless set under ``data``."""
    head_init: Literal["network", "zero"] = "network"
    """Initial weights of a head that replaces that of ``weights``. ``network``: random, as the
    network defines it. ``zero``: zeros, so that training starts from equal probabilities
    (Kolesnikov et al. 2020, Big Transfer)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.zero_init_residual is True and self.weights is not None:
            raise ValueError("`zero_init_residual` has no effect with `weights`: set it to false")
        return self


class ExperimentSettings(Section):
    """One section of params.yaml: a data set, a model and a recipe."""

    download: DownloadSettings
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.clutter is not None and self.download.source != "clutter":
            raise ValueError("`data.clutter` is only for `download.source: clutter`")
        return self


class RunSettings(ExperimentSettings):
    """Everything that affects a run's weights: equal settings give equal weights on one machine."""

    experiment: Name
    """Name of its section in params.yaml."""
    mix: MixSettings
    seed: Seed = 0
    """Seed of all random numbers of the training."""


def settings_digest(run: RunSettings, data_digest: str) -> str:
    """16 hexadecimal digits that differ between any two runs that compute different weights.

    ``data_digest`` is the digest of the prepared arrays and replaces the settings of their origin.
    A file of initial weights is represented by its content.
    """
    content = run.model_dump(mode="json", exclude={"download", "data"}) | {"data": data_digest}
    if run.model.weights is not None:
        from saliencymixplus.models.weights import fingerprint

        content["model"]["weights"] = fingerprint(run.model.weights)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
