"""Where a split's arrays are held."""

from pathlib import Path

import numpy as np
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.loading.augment import Augmentation
from saliencymixplus.loading.batches import DeviceData
from tests.helpers import SIZE


def test_the_cpu_reads_the_prepared_files_and_keeps_no_copy(tiny: Path) -> None:
    split = load_prepared(tiny).split("train")
    assert isinstance(split.images, np.memmap)
    plain = Augmentation("none", (SIZE, SIZE), (SIZE, SIZE))
    data = DeviceData(split, plain, (0.0,) * 3, (1.0,) * 3, torch.device("cpu"))
    held = data._held["images"]
    assert held.data_ptr() == split.images.ctypes.data
    (inputs,) = data.inputs([torch.tensor([3, 1])])
    images = data.assemble(inputs).images
    expected = torch.from_numpy(split.images[[3, 1]]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(images, expected)
