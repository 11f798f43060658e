"""Damage files anywhere: readers return the content or one line that says what is wrong."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.decode import decode, decoding
from saliencymixplus.errors import UserError

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4)


def _damaged(content: bytes, changes: list[tuple[float, int]], kept: float) -> bytes:
    data = bytearray(content)
    for place, bits in changes:
        data[int(place * len(data))] ^= bits
    return bytes(data[: int(kept * len(data))])


def _one_line(error: UserError, name: str) -> None:
    assert name in str(error)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
@relaxed
@given(changes=damage, kept=st.floats(0, 1))
def test_damaged_pictures(form: str, make: Any, changes: list, kept: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    content = _damaged(make.encoded(Image.fromarray(picture), form), changes, kept)
    try:
        with decoding():
            assert decode(content, "odd.img", 8).shape == (8, 8, 3)
    except UserError as error:
        _one_line(error, "odd.img")


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
@relaxed
@given(changes=damage, kept=st.floats(0.5, 1))
def test_damaged_archives(kind: str, make: Any, tmp_path: Path, changes: list, kept: float) -> None:
    files = make.photos()
    whole = make.zipped(files) if kind == "zip" else make.tarred(files, kind)
    content = _damaged(whole, changes, kept)
    path = tmp_path / "odd.bin"
    path.write_bytes(content)
    try:
        read = {member.name: member.read() for member in iter_members(path) if not member.is_folder}
    except UserError as error:
        _one_line(error, "odd.bin")
    else:
        # Plain tar has no checksum of contents; the others may only lose bytes that don't count.
        assert len(read) == len(files)
        if kind not in ("w", "zip"):
            assert read == files


HEADERS = [
    *("path", "linkpath", "size", "mtime", "uid", "gname", "hdrcharset", "comment"),
    *(f"GNU.sparse.{key}" for key in ("major", "minor", "map", "name", "size", "realsize")),
    *("GNU.sparse.offset", "GNU.sparse.numbytes", "SCHILY.realsize"),
]
texts = st.text("0123456789-,.abe/ \0ü", max_size=12) | st.sampled_from(["1", "0", "0,1"])


@relaxed
@given(headers=st.dictionaries(st.sampled_from(HEADERS), texts, max_size=4))
def test_odd_headers_of_a_tar(tmp_path: Path, headers: dict[str, str]) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("train/cat/0.png")
        info.size, info.pax_headers = 600, headers
        archive.addfile(info, io.BytesIO(b"1\n" * 300))
    try:
        for member in iter_members(path):
            assert not Path(member.name).is_absolute()
            assert ".." not in member.name.split("/")
            member.read()
    except UserError as error:
        _one_line(error, "odd.tar")
