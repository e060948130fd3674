"""Shared parts of the tests: nothing opens a window, and a whole domain so small that it runs in seconds."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)  # the networks here are so small that a second thread only waits


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The files of a domain of random weights: 64 px, spaces W+, F4, F6, four directions."""
    import json

    from safetensors.torch import save_file

    from samlib import save_generator
    from samlib.invertibility import InvertibilityPredictor
    from samlib.segmenters import SceneSegmenter
    from samlib.stylegan2 import Generator

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("domains") / "tiny"
    generator = Generator(64, z_dim=16, w_dim=16, channels={4: 16, 8: 16, 16: 8, 32: 8, 64: 8}, mapping_layers=2)
    folder.mkdir()
    save_generator(generator, folder / "generator.safetensors")
    InvertibilityPredictor(generator.spaces, "resnet18", width=8, decoder=8, low_reduced=8).save(folder / "predictor.safetensors")
    SceneSegmenter(["sky", "road", "car"], channels=(8, 8, 8)).save(folder / "segmenter.safetensors")
    directions = {}
    for name, last in (("size", 3), ("trees", 5), ("wheels", 7), ("colour", 10)):  # rows before `last` of 10
        directions[name] = torch.randn(10, 16)
        directions[name][last:] = 0
    save_file(directions, folder / "directions.safetensors")
    settings = {"tau": 0.2, "metric": "st-lpips-alex", "steps": 4, "strengths": {"size": [-1, 2]}}
    (folder / "domain.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture()
def tiny(tiny_folder):
    import samlib

    return samlib.load(tiny_folder, "cpu")


@pytest.fixture()
def photo(tmp_path):
    """A photograph's file that is no square and nobody here made: scikit-image's cat, scaled down."""
    import skimage.data
    from PIL import Image

    path = tmp_path / "cat.jpg"
    Image.fromarray(skimage.data.chelsea()).resize((90, 60)).save(path)
    return path
