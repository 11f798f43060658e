"""Plain training: batches are not mixed."""

from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Options

METHOD = Method(
    name="none",
    label="No mixing",
    year=0,
    summary="plain training",
    paper="",
    options=Options,
    apply=None,
)
