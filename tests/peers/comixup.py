"""Co-Mixup: costs, objectives, images and labels of a recorded solution, and our own objective."""

import numpy as np
import torch
import torch.nn.functional as F

from saliencymixplus.mixing import comixup
from saliencymixplus.mixing.methods.puzzlemix import pooled
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, saliency = (tensor(case, name) for name in ("images", "labels", "saliency"))
    cells = pooled(saliency, int(case["grid"]))
    close(cells, case["pooled"], "pooled")
    distance = comixup.salient_distance(saliency)
    equal(distance, case["place_distance"], "place_distance")
    part, mixed, target = int(case["part"]), [], []
    one_hot = F.one_hot(labels, 10).float()
    for number, start in enumerate(range(0, len(images), part)):
        rows = slice(start, start + part)
        suffix = "" if "z" in case else f"_{number}"
        shares = tensor(case, f"z{suffix}")
        costs = comixup.input_costs(cells[rows], tensor(case, f"prior{suffix}"))
        for name, thresholded in (("objective", False), ("objective_thres", True)):
            recorded = np.atleast_1d(case[name])[number]
            found = comixup.objective(shares, costs, thresholded=thresholded)
            close(found, recorded, name, rtol=1e-5)
        mixed.append(comixup.mix(images[rows], shares))
        target.append(comixup.label_shares(shares) @ one_hot[rows])
        # Another solver gives another solution: ours must reach an objective like the recorded.
        close_by = comixup.affinity(distance[rows, rows], float(case["omega"]))
        solved = comixup.solve(costs, close_by, tensor(case, f"init{suffix}").long())
        ours = float(comixup.objective(solved, costs, thresholded=True))
        theirs = float(np.atleast_1d(case["objective_thres"])[number])
        assert ours <= theirs + 0.1 * abs(theirs), f"objective {ours}, recorded {theirs}"
        assert torch.allclose(solved.sum(3), torch.ones(())), "each cell is shared out whole"
    close(torch.cat(mixed), case["mixed"], "mixed")
    close(torch.cat(target), case["target"], "target")
