"""Import MLflow quietly and with bounded waits."""

import logging
import os

from saliencymixplus.errors import UserError

# The first two limit waiting, because the tracker does its own retries. The last suppresses run
# URLs, which MLflow prints with an emoji that not every terminal can encode.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def require_mlflow() -> None:
    """Import MLflow without its output."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"MLflow cannot be imported ({error}): run `pip install 'mlflow>=3.11.1' psutil`, "
            "or do without it: `--tracker none`"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # MLflow logs each database error with its traceback and then raises it too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
