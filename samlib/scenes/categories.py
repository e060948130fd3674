"""The categories there are: a module each, with FACTORS, sample, shape, distance, bounds and shade."""
from . import cars
from .world import CLASSES

MODULES = {"cars": cars}
FACTORS = {name: module.FACTORS for name, module in MODULES.items()}
SEGMENTS = {name: CLASSES for name in MODULES}
