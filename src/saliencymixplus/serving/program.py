"""Export a network as a traced graph with its weights: no pickle, no code from this project."""

import torch
from torch import Tensor, nn


def exported_program(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Trace ``network`` in evaluation mode, for batches of any size up to 1024.

    Args:
        example: an input (B, …), B ≥ 2; with B = 1, the batch size would be traced as a constant.

    Raises:
        Exception: any of several torch errors, if the network's control flow depends on its input.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: batch},))
