import pytest
import torch

from samlib import segmenters
from samlib.segmenters import SceneSegmenter, Tidy, Unsupervised, clean, split


def scene_segmenter() -> SceneSegmenter:
    torch.manual_seed(0)
    return SceneSegmenter(("sky", "road", "car"), channels=(4, 8, 8)).eval()


def photograph(name: str, size: int = 128) -> torch.Tensor:
    from skimage import data

    pixels = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(pixels, size=(size, size), mode="area")


def test_scene_segmenter_gives_an_id_for_each_pixel_at_any_size():
    segmenter = scene_segmenter()
    for height, width in ((32, 32), (33, 50)):
        segments = segmenter(torch.randn(2, 3, height, width))
        assert segments.shape == (2, height, width) and segments.dtype == torch.long
        assert 0 <= segments.min() and segments.max() < len(segmenter.classes)


def test_scene_segmenter_of_a_batch_is_that_of_its_images():
    segmenter, images = scene_segmenter(), torch.randn(3, 3, 32, 32)
    singles = torch.cat([segmenter.logits(image[None]) for image in images])
    torch.testing.assert_close(segmenter.logits(images), singles, rtol=1e-4, atol=1e-5)


def test_scene_segmenter_round_trip_and_size(tmp_path):
    segmenter, images = scene_segmenter(), torch.randn(1, 3, 32, 32)
    loaded = SceneSegmenter.load(segmenter.save(tmp_path / "a.safetensors"))
    again = SceneSegmenter.load(loaded.save(tmp_path / "b.safetensors"))
    torch.testing.assert_close(loaded.logits(images), segmenter.logits(images), rtol=1e-2, atol=1e-2)
    assert torch.equal(again.logits(images), loaded.logits(images)) and loaded.classes == segmenter.classes
    assert SceneSegmenter([str(i) for i in range(16)]).save(tmp_path / "c.safetensors").stat().st_size < 6e6


def test_unsupervised_gives_a_few_regions_that_cover_a_photograph():
    segmenter = Unsupervised()
    for name in ("astronaut", "chelsea"):
        segments = segmenter(photograph(name))
        assert segments.shape == (1, 128, 128) and segments.dtype == torch.long
        ids = segments.unique()
        assert 5 <= len(ids) <= 20 and ids.tolist() == list(range(len(ids)))
        assert torch.equal(split(segments, 1000), segments)  # every region is connected


def test_unsupervised_finds_the_parts_of_a_drawing():
    image = torch.full((1, 3, 60, 60), -0.8)
    image[..., 30:] = 0.5
    image[:, 0, 40:, :20] = 1.0
    truth = torch.zeros(60, 60).long()
    truth[:, 30:], truth[40:, :20] = 1, 2
    (segments,) = Unsupervised(fewest=3)(image)
    pairs = torch.stack([segments, truth]).flatten(1).unique(dim=1)
    assert pairs.shape[1] == 3 == len(segments.unique())


def test_unsupervised_of_a_plain_or_noisy_or_tiny_image_keeps_to_its_bounds():
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, 48, 48, generator=random) * 2 - 1
    for image in (torch.zeros(1, 3, 48, 32), noise, torch.zeros(1, 3, 8, 8)):
        assert 1 <= len(Unsupervised()(image).unique()) <= 20


def test_clean_gives_a_speck_to_what_surrounds_it():
    segments = torch.zeros(1, 10, 10).long()
    segments[0, :, 5:] = 3
    speckled = segments.clone()
    speckled[0, 2, 2], speckled[0, 7, 8] = 7, 0
    assert torch.equal(clean(speckled, 0.05), segments)


def test_clean_laws():
    segments = torch.randint(0, 4, (2, 24, 24), generator=torch.Generator().manual_seed(0))
    for smallest in (0.02, 0.2, 0.9):
        cleaned = clean(segments, smallest)
        assert torch.equal(clean(cleaned, smallest), cleaned)
        assert set(cleaned.unique().tolist()) <= set(segments.unique().tolist())
        for one in split(cleaned):
            sizes = one.unique(return_counts=True)[1]
            assert len(sizes) == 1 or sizes.min() >= smallest * 24 * 24
    assert torch.equal(clean(segments, 0), segments)


def test_clean_keeps_a_slanted_pole():
    segments = torch.eye(20).long()[None]
    assert torch.equal(clean(segments, 0.04), segments)


def test_split_numbers_the_parts_of_a_class():
    segments = torch.tensor([[[1, 0, 1], [1, 0, 1], [0, 0, 0]]])
    parts = split(segments, 2)
    assert torch.equal(parts % 2, segments) and len(parts.unique()) == 3
    assert parts[0, 0, 0] == parts[0, 1, 0] != parts[0, 0, 2]


def test_tidy_is_a_segmenter():
    tidy = Tidy(scene_segmenter(), smallest=0.05, split=True)
    segments = tidy(torch.randn(2, 3, 32, 32))
    assert segments.shape == (2, 32, 32) and segments.dtype == torch.long and tidy.classes == ("sky", "road", "car")
    assert Tidy(Unsupervised())(photograph("chelsea", 48)).shape == (1, 48, 48)


def test_deeplab_without_its_weights_says_what_is_wanted(monkeypatch, tmp_path):
    def unreachable(*args, **settings):
        raise OSError("no route")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"deeplabv3_resnet50.*\.pth.*no route"):
        segmenters.DeepLabV3()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(3, 8, 8\)"):
        Unsupervised()(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="float32"):
        clean(torch.zeros(1, 8, 8))
