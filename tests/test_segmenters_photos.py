"""Segmenters of photographs, on networks of random weights made on the spot: nothing is downloaded."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

transformers = pytest.importorskip("transformers")

from samlib import segmenters_photos as photos  # noqa: E402
from samlib.segmenters_photos import ADE20K, FACE, GROUND, COCOPanoptic, FaceParsing, SegFormer, merge  # noqa: E402

SCENE = ["wall", "sky", "floor", "road", "grass", "earth", "car", "water", "field", "river", "truck", "van"]
PARTS = ["background", *FACE["face"], "hair", "neck"]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def segformer(folder, names):
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)}, hidden_sizes=[8] * 4,
        depths=[1] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8)
    network = transformers.SegformerForSemanticSegmentation(config).eval()
    network.decode_head.classifier.weight.data.mul_(30)  # so that the classes differ from place to place
    network.save_pretrained(folder)
    return network


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ade")
    return folder, segformer(folder, SCENE)


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory):
    """3 things and 2 kinds of stuff, on a Swin backbone."""
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
                                       out_features=["stage1", "stage2", "stage3", "stage4"])
    names = ["person", "cat", "dog", "sky", "grass"]
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
        hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=1, decoder_layers=2, num_queries=8,
        num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16)
    network = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    folder = tmp_path_factory.mktemp("coco")
    network.save_pretrained(folder)
    return folder, network


def images(n=2, height=64, width=48):
    smooth = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return F.interpolate(smooth, (height, width), mode="bicubic").clamp(-1, 1)


def test_ade20k_is_the_network_called_by_hand_with_its_classes_merged(scenes):
    folder, network = scenes
    segmenter, x = ADE20K(folder, size=64), images()
    mean, std = torch.tensor(photos.MEAN).view(3, 1, 1), torch.tensor(photos.STD).view(3, 1, 1)
    pixels = (F.interpolate((x + 1) / 2, (64, 64), mode="bilinear", antialias=True) - mean) / std
    with torch.no_grad():
        logits = network(pixel_values=pixels).logits
    raw = F.interpolate(logits, (64, 48), mode="bilinear").argmax(1)
    assert len(raw.unique()) > 2
    # wall, sky, ground (floor, road, earth), grass (and field), vehicle (car, truck, van), water (and river)
    table = torch.tensor([0, 1, 2, 2, 3, 2, 4, 5, 3, 5, 4, 4])
    segments = segmenter(x)
    assert segments.dtype == torch.long and (segments == table[raw]).float().mean() > 0.999
    assert segmenter.classes == ("wall", "sky", "floor/road/earth", "grass/field", "car/truck/van", "river/water")


def test_the_image_is_prepared_as_the_networks_own_processor_does(scenes):
    processor = transformers.SegformerImageProcessor(size={"height": 64, "width": 64})
    x = (images() + 1).mul(127.5).round()
    theirs = processor(images=[one.byte() for one in x], return_tensors="pt")["pixel_values"]
    ours = photos.prepare(x / 127.5 - 1, 64, scenes[1])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.03)  # theirs rounds to bytes after scaling


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_is_its_images_at_any_size(scenes, panoptic, device):
    for segmenter in (ADE20K(scenes[0], size=64, device=device), COCOPanoptic(panoptic[0], size=64, threshold=0, device=device)):
        for height, width in ((64, 64), (40, 70)):
            x = images(3, height, width)
            batch = segmenter(x)  # from the CPU, whatever the device of the network: ids come back where the images are
            assert batch.shape == (3, height, width) and batch.dtype == torch.long and batch.device == x.device
            singles = torch.cat([segmenter(one[None]) for one in x])
            assert (batch == singles).float().mean() > 0.999  # a tie may fall either way
            assert segmenter(x.to(device)).device.type == device


def test_merged_labels_by_hand():
    classes, table = merge(["a", "car", "b", "van", "c", "truck"], {"car/truck/van": GROUND["car/truck/van"]})
    assert classes == ("a", "car/truck/van", "b", "c") and table.tolist() == [0, 1, 2, 1, 3, 1]
    assert table[torch.tensor([[5, 0], [3, 4]])].tolist() == [[1, 0], [1, 3]]
    with pytest.raises(ValueError, match="has no label truck, van"):
        merge(["car"], {"car/truck/van": GROUND["car/truck/van"]})


def test_the_inner_face_is_one_class(tmp_path):
    segformer(tmp_path, PARTS)
    segmenter = FaceParsing(tmp_path, size=32)
    assert segmenter.classes == ("background", "face", "hair", "neck")
    assert segmenter.table.tolist() == [0, *[1] * 10, 2, 3]
    assert segmenter(images()).max() < 4


def test_synonyms_and_labels_without_groups(tmp_path):
    segformer(tmp_path, ["sky", "car, auto, automobile", "bed "])
    assert SegFormer(tmp_path).classes == ("sky", "car", "bed")


def test_panoptic_segments_by_hand(panoptic):
    """Two cats, the second surer; a sky in two pieces; a dog of which the second cat has half; and nothing, everywhere."""
    segmenter = COCOPanoptic(panoptic[0], things=3)
    masks = torch.full((1, 6, 4, 6), -20.0)
    masks[0, 0, :2, :2] = masks[0, 1, 2:, :2] = masks[0, 2, :2, 2:5] = masks[0, 3, 2:, 2:5] = 20
    masks[0, 4, 2:, :2] = masks[0, 4, :, 5] = masks[0, 5] = 20
    scores = torch.zeros(1, 6, 6)  # person, cat, dog, sky, grass, none
    for query, (label, sure) in enumerate(((1, 3), (1, 20), (3, 20), (3, 20), (2, 2), (5, 20))):
        scores[0, query, label] = sure
    outputs = SimpleNamespace(class_queries_logits=scores, masks_queries_logits=masks)
    segments = segmenter.segments(outputs, (384, 576))[0]
    at = segments[48::96, 48::96]  # the middles of the 4 x 6 cells
    assert segmenter.classes == ("person", "cat", "dog", "sky", "grass", "unlabelled")
    upper, lower = [1 + 6, 1 + 6, 3, 3, 3, 5], [1, 1, 3, 3, 3, 5]
    assert at.tolist() == [upper, upper, lower, lower]


def test_panoptic_agrees_with_the_networks_own_processor(panoptic):
    folder, network = panoptic
    segmenter, x = COCOPanoptic(folder, size=64, threshold=0, things=3), images(2, 64, 64)
    with torch.no_grad():
        outputs = network(pixel_values=photos.prepare(x, 64, network))
    theirs = transformers.Mask2FormerImageProcessor().post_process_panoptic_segmentation(
        outputs, threshold=0, label_ids_to_fuse={3, 4}, target_sizes=[(64, 64)] * 2)
    for ours, one in zip(segmenter(x), theirs):
        parts = one["segmentation"].long()
        pairs = torch.stack([parts, ours]).flatten(1).unique(dim=1)
        assert pairs.shape[1] == len(parts.unique()) == len(ours.unique())  # the same parts
        label_of = {0: 5, -1: 5} | {part["id"]: part["label_id"] for part in one["segments_info"]}
        assert all(label_of[part] == segment % 6 for part, segment in pairs.t().tolist())


def test_nothing_found_is_unlabelled(panoptic):
    segmenter = COCOPanoptic(panoptic[0], size=64, threshold=1.1)
    assert (segmenter(images()) == segmenter.classes.index("unlabelled")).all()


def test_offline_says_what_is_wanted_and_where_it_goes(monkeypatch):
    def unreachable(*args, **settings):
        assert settings["use_safetensors"] and settings["trust_remote_code"] is False
        raise OSError("We couldn't\nconnect")

    monkeypatch.setattr(transformers.SegformerForSemanticSegmentation, "from_pretrained", unreachable)
    with pytest.raises(FileNotFoundError) as caught:
        FaceParsing()
    message = str(caught.value)
    assert "\n" not in message and "huggingface.co/jonathandinu/face-parsing" in message
    assert "couldn't connect" in message and "model.safetensors" in message and "local folder" in message


def test_pickled_weights_are_not_read(tmp_path):
    class Planted:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    segformer(tmp_path, SCENE)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": Planted()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="wanted config.json and model.safetensors"):
        ADE20K(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_file_or_that_of_another_network_is_refused(scenes, panoptic, tmp_path):
    segformer(tmp_path, SCENE)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no weights"):
        ADE20K(tmp_path)
    with pytest.raises(ValueError, match="of a SegformerForSemanticSegmentation"):
        SegFormer(panoptic[0])
    with pytest.raises(ValueError, match="of a Mask2FormerForUniversalSegmentation"):
        COCOPanoptic(scenes[0])


def test_a_missing_weight_is_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    segformer(tmp_path, SCENE)
    state = load_file(tmp_path / "model.safetensors")
    del state["decode_head.classifier.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="1 weights are missing, decode_head.classifier.weight"):
        ADE20K(tmp_path)


def test_wrong_images_are_named(scenes):
    with pytest.raises(ValueError, match=r"\(3, 8, 8\)"):
        ADE20K(scenes[0])(torch.zeros(3, 8, 8))
