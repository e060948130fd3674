"""The numbers that the paper prints, for tables that show this project's beside them.

Parmar et al., "Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing", CVPR 2022. Its generators are those of
LSUN cars, horses and cats and of FFHQ, so its numbers are no target for the built-in domains; their order is.
"""

CATEGORIES = ("cars", "horses", "cats", "faces")
OFFICIAL = {"lsun-cars": "cars", "lsun-horses": "horses", "lsun-cats": "cats", "ffhq": "faces"}  # the paper's own generators

# Table 1, by this project's names of the methods: (LPIPS-vgg, PSNR in dB) of 1,000 images in each of CATEGORIES.
TABLE1 = {
    "w": ((0.34, 14.44), (0.45, 13.46), (0.44, 14.47), (0.28, 18.32)),
    "w+": ((0.24, 17.29), (0.34, 15.74), (0.35, 17.11), (0.20, 22.10)),
    "gaussian": ((0.45, 15.92), (0.42, 17.19), (0.49, 17.01), (0.15, 25.18)),
    "hybrid-e4e": ((0.36, 17.05), (0.42, 16.68), (0.42, 17.91), (0.15, 25.13)),
    "pti": ((0.38, 19.39), (0.43, 18.73), (0.41, 20.45), (0.26, 22.36)),
    "sam": ((0.16, 22.81), (0.23, 21.07), (0.22, 22.91), (0.13, 26.89)),
    "e4e": ((0.47, 14.57), (0.55, 13.98), (0.56, 14.68), (0.34, 19.39)),
    "restyle-psp": ((0.43, 16.44), (0.45, 16.53), (0.48, 17.58), (0.29, 21.47)),
    "restyle-e4e": ((0.45, 15.61), (0.52, 14.50), (0.53, 15.64), (0.34, 19.72)),
    "sam-encoder": ((0.28, 19.21), (0.34, 18.61), (0.37, 18.59), (0.29, 21.10)),
}

# Table 2: per cent of the comparisons in which SAM was preferred to a method, in cars, horses and cats.
TABLE2 = {"pti": {"inversion": (93.0, 88.4, 88.4), "editing": (81.6, 83.6, 62.0)},
          "w+": {"inversion": (72.0, 75.3, 79.5), "editing": (71.2, 64.3, 65.0)},
          "hybrid-e4e": {"inversion": (76.8, 78.2, 77.6), "editing": (62.6, 61.7, 55.4)}}

# Table 3: how many of the spaces W+, F4, F6, F8, F10, from the first on, allow a direction. By this project's names.
TABLE3 = {"cars": {"size": 1, "trees": 2, "wheel_type": 3, "red": 5},
          "cats": {"pose": 1, "eye_size": 3, "black": 4, "red_nose": 4},
          "horses": {"pose": 1, "saddle": 1, "white": 2, "trees": 3},
          "faces": {"glasses": 1, "laughing": 2, "thick_eyebrows": 4, "age": 5}}

# Table 4: the backbones of LPIPS that a method minimizes.
TABLE4 = {"e4e": "alex", "restyle-psp": "alex", "restyle-e4e": "alex", "w": "vgg", "w+": "vgg", "pti": "alex, vgg",
          "sam-encoder": "vgg", "sam": "vgg"}


def category(domain: str) -> str | None:
    """The paper's category of a built-in or an official domain; None of others."""
    found = OFFICIAL.get(domain, domain)
    return found if found in CATEGORIES else None


def table1(method: str, domain: str) -> tuple[float, float] | None:
    """(LPIPS, PSNR) that the paper prints; None where it has no such row or column."""
    if method not in TABLE1 or category(domain) is None:
        return None
    return TABLE1[method][CATEGORIES.index(category(domain))]


def ticks(domain: str, direction: str, spaces) -> list[bool] | None:
    """A row of Table 3, for the names of the spaces in order; None where the paper has no such row."""
    count = TABLE3.get(category(domain), {}).get(direction)
    return None if count is None else [i < count for i in range(len(spaces))]
