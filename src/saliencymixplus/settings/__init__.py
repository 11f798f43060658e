"""Settings: read from params.yaml and the command line, validated, frozen, with a digest."""

from saliencymixplus.settings.data import ClutterSettings, DataSettings, DownloadSettings
from saliencymixplus.settings.experiment import (
    ExperimentSettings,
    ModelSettings,
    RunSettings,
    settings_digest,
)
from saliencymixplus.settings.load import load_params
from saliencymixplus.settings.mix import MixSettings
from saliencymixplus.settings.params import Params
from saliencymixplus.settings.runtime import RuntimeSettings
from saliencymixplus.settings.training import TrainingSettings

__all__ = [
    "ClutterSettings",
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
