"""Write out everything that each training depends on, for DVC to compare.

DVC reruns a training when one of these files changes, whether because of params.yaml, a default in
the code or the source of the method. A new method or an option of another recipe changes none.
"""

from collections.abc import Sequence
from pathlib import Path

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
    found = {name: params.mix(name) for name in recipes}
    sections = {name: params.experiment(name) for name in experiments}
    contents = {
        output / "recipes" / f"{name}.json": mix.model_dump(mode="json")
        | {"code": mixing_files(*mix.methods)}
        for name, mix in found.items()
    } | {
        output / "experiments" / f"{name}.json": section.model_dump(
            mode="json", include={"model", "training"}
        )
        for name, section in sections.items()
    }
    for path in contents:
        check_file(path, '"code": {' if path.parent.name == "recipes" else '"training": {')
    for folder in ("recipes", "experiments"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_json(path, content)
