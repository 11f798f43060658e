"""Write out everything that each training depends on, for DVC to compare.

DVC reruns a training when one of these files changes, whether because of params.yaml, a default in
the code or the source of the method. A new method or an option of another recipe changes none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saliencymixplus.engine.digest import mixing_files
from saliencymixplus.files import write_json
from saliencymixplus.outputs import check_file
from saliencymixplus.settings import Params


def write_resolved(
    params: Params, experiments: Sequence[str], recipes: Sequence[str], output: Path
) -> None:
    """Write ``recipes/NAME.json`` and ``experiments/NAME.json`` below ``output``.

    A recipe's file has the method, all its options and the digests of its sources; an experiment's
    file has the network and all training settings, including defaults.
    """
    contents: dict[Path, dict[str, Any]] = {}
    for name in recipes:
        mix = params.mix(name)
        code = {"code": mixing_files(*mix.methods)}
        contents[output / "recipes" / f"{name}.json"] = mix.model_dump(mode="json") | code
    for name in experiments:
        section = params.experiment(name)
        found = section.model_dump(mode="json", include={"model", "training"})
        contents[output / "experiments" / f"{name}.json"] = found
    for path in contents:
        check_file(path, '"code": {' if path.parent.name == "recipes" else '"training": {')
    for folder in ("recipes", "experiments"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_json(path, content)
