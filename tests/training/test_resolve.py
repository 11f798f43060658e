"""The resolved settings that DVC compares."""

import json
from pathlib import Path
from typing import Any

from saliencymixplus.settings import load_params
from saliencymixplus.training.resolve import write_resolved

TEXT = """
mix:
  both: {switch: {weak: 0.5, mixup: 0.5}}
  weak: {method: cutmix, alpha: 0.5}
digits:
  download: {source: digits}
"""


def resolved(folder: Path, *overrides: str) -> dict[str, Any]:
    path = folder / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    write_resolved(load_params(path, overrides), ["digits"], ["both"], folder / "resolved")
    found: dict[str, Any] = json.loads((folder / "resolved/recipes/both.json").read_text())
    return found


def test_a_switch_is_resolved_with_the_options_and_files_of_its_members(tmp_path: Path) -> None:
    content = resolved(tmp_path)
    members = content["options"]["members"]
    assert (members["weak"]["method"], members["weak"]["alpha"]) == ("cutmix", 0.5)
    assert {"mixing/methods/cutmix.py", "mixing/methods/mixup.py"} <= content["code"].keys()
    assert "mixing/methods/fmix.py" not in content["code"]
    assert resolved(tmp_path, "mix.weak.alpha=0.7") != content
    assert resolved(tmp_path, "mix.gridmix.alpha=0.7") == content
