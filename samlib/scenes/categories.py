"""The categories there are: a module each.

A category module has
    FACTORS             name -> (lowest, highest)
    CLASSES, ID         names of the segments, and name -> number
    KINDS               of additions in challenging scenes (clutter.py)
    SHAPE, SHADING      names of the parameters that `distance` and `shade` read
    sample(u)           -> factors (N,) by name, and other numbers (N, 1) that those came from
    settings(u, factors, own) -> Params, the camera and the light among them
    background(p, o, d, pixel) -> Canvas, and the Ground that the subject stands on or None
    bounds(p)           -> low and high corner of a box about the subject
    distance(x, y, z, p) -> (M,) to the subject
    shade(x, y, z, n, d, p, light, soft) -> light (3, M) and segment (M,)
    challenge(canvas, p, c)   puts the additions c into the picture
"""
from . import cars, cats, faces, horses

MODULES = {"cars": cars, "cats": cats, "horses": horses, "faces": faces}
FACTORS = {name: module.FACTORS for name, module in MODULES.items()}
SEGMENTS = {name: module.CLASSES for name, module in MODULES.items()}
