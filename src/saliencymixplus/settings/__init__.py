"""Settings: read from params.yaml and the command line, validated, frozen, with a digest."""

from saliencymixplus.settings.load import Params, load_params, settings_digest
from saliencymixplus.settings.schema import (
    DataSettings,
    DownloadSettings,
    ExperimentSettings,
    MixSettings,
    ModelSettings,
    RunSettings,
    RuntimeSettings,
    TrainingSettings,
)

__all__ = [
    "DataSettings",
    "DownloadSettings",
    "ExperimentSettings",
    "MixSettings",
    "ModelSettings",
    "Params",
    "RunSettings",
    "RuntimeSettings",
    "TrainingSettings",
    "load_params",
    "settings_digest",
]
