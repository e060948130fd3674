"""Spatially-adaptive multilayer selection for GAN inversion and editing (Parmar et al., CVPR 2022).

image -> predicted error per space -> mean per segment -> layer map (tau) -> inversion -> edit -> image
"""

__version__ = "0.1.0"

from samlib import edit, layer_map, optimize  # noqa: F401
from samlib.checkpoints import load_generator, save_generator
from samlib.domains import Domain, domains, load
from samlib.images import ImageError, read_image, write_image
from samlib.inversion import Inversion

__all__ = ["Domain", "ImageError", "Inversion", "domains", "load", "load_generator", "read_image", "save_generator",
           "write_image"]
