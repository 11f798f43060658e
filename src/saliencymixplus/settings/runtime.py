"""How a training is executed."""

from typing import Annotated, Literal

from pydantic import Field

from saliencymixplus.settings.section import Section


class RuntimeSettings(Section):
    """How a training is executed, not what it computes: not part of the digest."""

    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    tracker: Literal["mlflow", "none"] = "mlflow"
    """Where runs are recorded in addition to their folders."""
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Loader processes, if the images do not fit on the device."""
    data_on: Literal["auto", "device", "shard", "host"] = "auto"
    """Where images are held: all on each device, each process's part there, or on the host."""
    engine: Literal["auto", "eager", "graph"] = "auto"
    """``graph`` captures the whole step as a CUDA graph; ``auto`` does so on CUDA."""
    compile: bool = False
    """Compile the step with ``torch.compile``."""
    deterministic: bool = False
    """Bit-identical results on CUDA, too, at lower speed."""
    resume: bool = True
    """Resume an unfinished run with the same settings."""
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    """How progress is displayed."""
