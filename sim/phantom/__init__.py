"""The spine phantom: published anatomy as implicit functions, rendered as a CT, and the judge that knows the truth.

``generate(seed, **options) -> Phantom``; ``write(phantom, folder)``; ``grade_truth(phantom, entry, tip, diameter)``. Coordinates: LPS mm of the CT.
Only simulators, tests and final judges may read a phantom's truth; the planner sees the rendered voxels.
"""

from sim.phantom.judge import grade_truth
from sim.phantom.phantom import Phantom, generate
from sim.phantom.surface import Landmark, dorsal_point, landmarks, surface_points, vertebra_mesh
from sim.phantom.volume import Rendered, render
from sim.phantom.write import load_landmarks, truth, write

__all__ = [
    "Landmark", "Phantom", "Rendered", "dorsal_point", "generate", "grade_truth", "landmarks", "load_landmarks", "render", "surface_points", "truth",
    "vertebra_mesh", "write",
]  # fmt: skip
