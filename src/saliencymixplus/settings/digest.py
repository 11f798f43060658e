"""The digest of a run's settings and data."""

import hashlib
import json

from saliencymixplus.settings.experiment import RunSettings


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
