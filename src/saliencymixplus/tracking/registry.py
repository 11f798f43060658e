"""MLflow's Model Registry: the versions of one model, its champion and its challenger."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from saliencymixplus.errors import UserError
from saliencymixplus.runs.folder import read_tracking
from saliencymixplus.runs.read import Run
from saliencymixplus.tracking import stores
from saliencymixplus.tracking.describe import model_name
from saliencymixplus.tracking.mlflow_model import find_model
from saliencymixplus.tracking.mlflow_store import RunDeletedError, Store
from saliencymixplus.tracking.redact import brief

CHAMPION, CHALLENGER = "champion", "challenger"
_WEIGHTS, _DATA, _MODEL = "weights", "data_digest", "logged_model"  # version tags
_PREDICTIONS = "evaluation/predictions.npz"  # the artifact that `evaluate` records


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    number: str
    run_id: str
    weights: str
    data_digest: str


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn any error of a server, network or disk in the block into a ``UserError``."""
    try:
        yield
    except (UserError, BrokenPipeError):  # the latter is of standard output
        raise
    except Exception as error:
        raise UserError(f"MLflow ({stores.configured()}): {brief(error)}") from error


class Registry:
    """The versions of the registered model ``name`` in the configured store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._store = Store(stores.configured())
        self._client = self._store.client

    def champion(self) -> Version | None:
        """The version with the alias ``champion``, or None."""
        try:
            return _version(self._client.get_model_version_by_alias(self.name, CHAMPION))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None  # no such model, or no such alias
            raise

    def register(self, run: Run, weights: str) -> Version:
        """Find or create the version of a run's ``weights`` and make it the ``challenger``.

        The current champion keeps its alias and does not become a challenger.

        Raises:
            UserError: the run has no MLflow model of these weights in the configured store.
        """
        card = read_tracking(run.path)
        if card is None:
            raise UserError(
                f"{run.path} was trained with --tracker none: MLflow has no model of it"
            )
        model = None
        with suppress(RunDeletedError):
            if found := self._store.find_run(card):
                name = model_name(card, weights)
                model = find_model(self._client, found.info.run_id, name)
        if model is None or str(model.status) != "READY":
            raise UserError(
                f"MLflow ({self._store.address}) has no model of {run.path}, weights {weights}: "
                "run `python cli.py sync` to send pending records; runs of earlier versions must "
                "be trained again"
            )
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = self._client.search_model_versions(f"name = '{self.name}'")
        same = [version for version in known if version.tags.get(_MODEL) == model.model_id]
        made = _version(
            same[0]
            if same
            else self._client.create_model_version(
                self.name,
                source=model.artifact_location,
                run_id=model.source_run_id,
                tags={_WEIGHTS: weights, _DATA: run.data.digest, _MODEL: model.model_id},
                model_id=model.model_id,
            )
        )
        champion = self.champion()
        if champion is None or champion.number != made.number:
            self._client.set_registered_model_alias(self.name, CHALLENGER, made.number)
        return made

    def predictions(self, version: Version, folder: Path) -> Path:
        """Download the test predictions of a version's run into ``folder``."""
        try:
            return Path(self._client.download_artifacts(version.run_id, _PREDICTIONS, str(folder)))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"MLflow has no predictions of {self.name} version {version.number}: evaluate its "
                "run again, with the same MLFLOW_TRACKING_URI"
            ) from error

    def promote(self, version: Version) -> None:
        """Make ``version`` the champion and remove its alias ``challenger``."""
        self._client.set_registered_model_alias(self.name, CHAMPION, version.number)
        aliases = self._client.get_registered_model(self.name).aliases
        if str(aliases.get(CHALLENGER)) == version.number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)


def _version(found: Any) -> Version:
    tags = found.tags
    return Version(
        str(found.version), found.run_id or "", tags.get(_WEIGHTS, ""), tags.get(_DATA, "")
    )
