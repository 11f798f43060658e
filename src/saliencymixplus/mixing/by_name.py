"""Create mixers by name: a method, a preset, or a switch between several."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from saliencymixplus.mixing.mixer import Mixer
from saliencymixplus.mixing.registry import plain_name
from saliencymixplus.mixing.switch import SWITCH, Switch


def create(method: str, **options: Any) -> Mixer:
    """Create a mixer by the name of a method or preset.

    Args:
        method: a key of ``METHODS``, a preset such as ``"saliencymix-published"``, a display
            name such as ``"SaliencyMix+"``, or ``"switch"``.
        options: the method's options; those omitted or None take their values from the variant
            or preset. For a switch: ``members``, see ``Switch``.

    Raises:
        ValueError: an unknown method, option or value; one line with the nearest name.

    Examples:
        >>> create("cutmix", alpha=0.5, box="sample").options.alpha
        0.5
        >>> create("SaliencyMix+").method
        'saliencymixplus'
        >>> len(create("switch", members={"cutmix": 0.5, "mixup": 0.5}).members)
        2
        >>> create("cutmx")
        Traceback (most recent call last):
        ...
        ValueError: no mixing method is called 'cutmx': did you mean 'cutmix'?
    """
    if plain_name(str(method)) != SWITCH:
        return Mixer(method, **options)
    if unknown := sorted(options.keys() - {"members"}):
        raise ValueError(f"no option is called {unknown[0]!r}: a switch has `members`")
    return Switch(options.get("members", {}))


def resolve_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a method, preset or switch with its value.

    Raises:
        ValueError: an unknown method, option or value; one line with the nearest name.
    """
    return asdict(create(name, **options).options)
