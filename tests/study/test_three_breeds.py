"""Three breeds of Pet as an image folder: splits from the lists, masks from the trimaps."""

import runpy
from pathlib import Path

import numpy as np
from PIL import Image

from tests.archives import SIZE, encoded, pet
from tests.helpers import REPOSITORY


def test_split_breeds_and_masks(tmp_path: Path) -> None:
    trimap = np.full((SIZE, SIZE), 2, dtype=np.uint8)
    trimap[:4], trimap[4] = 1, 3  # the animal, and its border
    archives = pet(annotations={"annotations/trimaps/Abyssinian_3.png": encoded(trimap)})
    for name, content in archives.items():
        (tmp_path / name).write_bytes(content)
    output = tmp_path / "pets3"
    runpy.run_path(str(REPOSITORY / "study" / "three_breeds.py"))["lay_out"](tmp_path, output)
    expected = {
        f"{split}/{breed}/{breed}_{i}"
        for breed in ("Abyssinian", "american_bulldog")  # the third breed is not one of ours
        for split, numbers in (("train", (0, 1, 2)), ("test", (3, 4)))
        for i in numbers
    }
    found = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert found == {f"{name}.jpg" for name in expected} | {f"masks/{n}.png" for n in expected}
    mask = np.asarray(Image.open(output / "masks/test/Abyssinian/Abyssinian_3.png"))
    np.testing.assert_array_equal(mask > 0, trimap == 1)
