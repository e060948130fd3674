"""A BigGAN-deep so small that it is instant on a CPU: 32 px, three classes, spaces Z+, F2, F4, attention at 16 px."""

import json

import torch

import samlib
from samlib.biggan import BigGAN, standing_statistics
from samlib.checkpoints import save_tensors
from samlib.classifier import SceneClassifier
from samlib.invertibility import InvertibilityPredictor
from samlib.segmenters import SceneSegmenter
from samlib.training.factors import FactorRegressor

NAMES = ["sedan", "van", "truck"]


def tiny_biggan(seed: int = 0, resolution: int = 32) -> BigGAN:
    """Random weights, large enough for z and the class to show; statistics as a trained one has them."""
    torch.manual_seed(seed)
    channels = {4: 16, 8: 16, 16: 8, 32: 8, 64: 8}
    channels = {size: width for size, width in channels.items() if size <= resolution}
    generator = BigGAN(resolution, z_dim=6, class_dim=4, classes=3, channels=channels, attention=16, n_stats=3, names=NAMES)
    with torch.no_grad():
        generator.embeddings.weight.normal_()
        for name, p in generator.named_parameters():
            if name.endswith(("scale.weight", "offset.weight")):
                p.mul_(2)
            if name.endswith("gamma"):
                p.fill_(0.5)
    standing_statistics(generator, batches=4, batch=32)
    return generator.eval().requires_grad_(False)


def save_domain(folder):
    """The files of a whole domain around one of 64 px, as samlib.load reads it, into a new folder -> the folder."""
    folder.mkdir()
    generator = tiny_biggan(resolution=64)
    samlib.save_generator(generator, folder / "generator.safetensors", half=False)
    SceneClassifier(NAMES, width=8, size=32).save(folder / "classifier.safetensors")
    InvertibilityPredictor(generator.spaces, width=8, decoder=8, low_reduced=8).save(folder / "predictor.safetensors")
    SceneSegmenter(["sky", "car"], channels=(8, 8, 8)).save(folder / "segmenter.safetensors")
    FactorRegressor(["sun", "pose"], channels=(4, 4, 4, 4, 4), hidden=8).save(folder / "factors.safetensors")
    save_tensors({"size": generator.z_direction(torch.ones(6))}, folder / "directions.safetensors", half=False)
    (folder / "domain.json").write_text(json.dumps({"tau": 0.2, "metric": "st-lpips-alex", "steps": 3}))
    return folder


def package_state(generator) -> dict:
    """Its tensors as pytorch-pretrained-biggan keeps them: weight_orig, weight_u, weight_v for each that spectral norm is on."""
    state = {}
    for name, tensor in generator.state_dict().items():
        if name.endswith(".weight") and tensor.ndim > 1 and name != "embeddings.weight":
            matrix = tensor.flatten(1)
            u = torch.nn.functional.normalize(torch.ones(len(matrix)), dim=0)
            v = matrix.t() @ u
            state |= {f"{name}_orig": tensor * 3, f"{name}_u": u, f"{name}_v": v / v.square().sum()}
        else:
            state[name] = tensor
    return state
