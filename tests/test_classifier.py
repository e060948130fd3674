"""The classifiers: they learn what differs, travel through files, and give ids in the order of their names."""

import pytest
import torch
from torch import nn

from samlib.classifier import ImageNetClassifier, SceneClassifier
from samlib.training.classifier import evaluate_classifier, train_classifier


def striped(n, seed):
    """Images with stripes across or down, their class, in random colours."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    wave = torch.sin(torch.arange(32) * 1.2)
    pattern = torch.stack([wave[:, None].expand(32, 32), wave[None].expand(32, 32)])[labels][:, None]
    colours = torch.rand(n, 3, 1, 1, generator=random) + 0.3
    return (pattern * colours / 1.3 + 0.1 * torch.randn(n, 3, 32, 32, generator=random)).clamp(-1, 1), labels


def test_it_learns_what_differs_and_travels(tmp_path):
    model, history = train_classifier(*striped(64, 0), ["rows", "columns"], steps=25, batch=16, progress=False, width=8, size=32,
                                      device="cpu")
    images, labels = striped(40, 1)
    found = evaluate_classifier(model, images, labels)
    assert found["accuracy"] > 0.9 and {*found["by_class"]} == {"rows", "columns"} and len(history["loss"]) == 25
    model.save(tmp_path / "c.safetensors")
    again = SceneClassifier.load(tmp_path / "c.safetensors")
    assert again.classes == ("rows", "columns") and torch.equal(again(images), model(images))


def test_a_batch_is_its_images_one_by_one_at_any_size():
    torch.manual_seed(0)
    model = SceneClassifier("abc", width=8, size=32).eval()
    images = torch.rand(3, 3, 48, 64) * 2 - 1
    ids = model(images)
    assert ids.dtype == torch.long and ids.tolist() == [int(model(image[None])) for image in images]


def test_imagenet_ids_are_those_of_the_names():
    class Bright(nn.Module):
        """Class 3 for what is brighter than the mean of ImageNet, else class 7."""

        def forward(self, x):
            assert x.shape[1:] == (3, 224, 224)
            bright = x.mean((1, 2, 3)) > 0
            out = torch.zeros(len(x), 1000)
            out[:, 3], out[:, 7] = bright.float(), (~bright).float()
            return out

    classifier = ImageNetClassifier(Bright())
    assert classifier.classes[3] == "tiger shark" and len(classifier.classes) == 1000
    grey = torch.tensor([-0.3, 0.3])[:, None, None, None].expand(2, 3, 64, 64)  # 0.35 and 0.65 of white; the mean is 0.45
    assert classifier(grey).tolist() == [7, 3]


def test_without_its_weights_it_says_so(monkeypatch):
    def offline(**options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.resnet50", offline)
    with pytest.raises(ValueError, match="resnet50 weights.*go online once"):
        ImageNetClassifier()


def test_bad_labels_are_refused():
    images, labels = striped(4, 0)
    for wrong in (labels[:3], labels + 1, labels.float()):
        with pytest.raises(ValueError, match="a class for each"):
            train_classifier(images, wrong, ["rows", "columns"], steps=1, progress=False)
