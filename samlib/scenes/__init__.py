"""The built-in data: pictures rendered from a seed, each with its factors and its segments.

    scenes = render("cars", seed=0, indices=range(8), size=256)
    scenes.images (8, 3, 256, 256) in [-1, 1], scenes.segments (8, 256, 256), scenes.factors["size"] (8,)
"""
from .categories import FACTORS, SEGMENTS
from .draw import Scenes, codes, render

__all__ = ["FACTORS", "SEGMENTS", "Scenes", "codes", "render"]
