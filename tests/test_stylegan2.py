"""The generator against the reference implementation, and the laws that the method rests on."""


import numpy as np
import pytest
import torch
from reference import file as reference_file

from samlib.discriminator import Discriminator
from samlib.stylegan2 import Generator

SPACES = ("F4", "F6", "F8", "F10")


def close(got, want, tolerance=1e-4):
    want = torch.as_tensor(want)
    assert got.shape == want.shape
    assert (got - want).abs().max() <= tolerance * want.abs().max()


@pytest.fixture(scope="module")
def reference():
    arrays = np.load(reference_file("stylegan2_tiny_r256.npz"))
    return {k: torch.from_numpy(arrays[k]) for k in arrays.files}


@pytest.fixture(scope="module")
def reference_generator(reference):
    state = {k[3:]: v for k, v in reference.items() if k.startswith("sd/")}
    channels = {2**i: state[f"synthesis.b{2**i}.conv1.weight"].shape[0] for i in range(2, 9)}
    generator = Generator(256, 48, 48, channels, mapping_layers=4)
    generator.load_state_dict(state)
    return generator.eval().requires_grad_(False)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Generator(64, 8, 8, {r: 8 for r in (4, 8, 16, 32, 64)}, mapping_layers=2).requires_grad_(False)


def deltas_of(reference, names=SPACES):
    return {s: reference[f"delta/{s}"] for s in names}, {s: reference[f"mask/{s}"] for s in names}


def test_mapping_and_truncation(reference, reference_generator):
    close(reference_generator.mapping(reference["z"]), reference["ws"])
    close(reference_generator.mapping(reference["z"], truncation=0.7), reference["ws_psi0.7"])


@pytest.mark.parametrize("noise", ["const", "none"])
def test_images(reference, reference_generator, noise):
    images = reference_generator.synthesis(reference["ws"], noise=noise)
    close(images[..., ::4, ::4], reference[f"image_noise_{noise}[::4]"])


def test_formation_eq_3_4(reference, reference_generator):
    deltas, masks = deltas_of(reference)
    close(reference_generator.synthesis(reference["w_plus"], deltas, masks, noise="none"), reference["formed"])


@pytest.mark.parametrize("space", SPACES)
def test_formation_in_one_space(reference, reference_generator, space):
    deltas, _ = deltas_of(reference, [space])
    formed = reference_generator.synthesis(reference["w_plus"], deltas, noise="none")
    close(formed[..., ::4, ::4], reference[f"formed_only_{space}[::4]"])


def test_edit(reference, reference_generator):
    deltas, masks = deltas_of(reference)
    close(reference_generator.edit(reference["w_plus"], reference["direction"], deltas, masks), reference["edited"])


def test_spaces_name_the_rows_after_them():
    spaces = Generator(256, 4, 4, {2**i: 2 for i in range(2, 9)}, 1).spaces
    assert [(s.name, s.resolution, s.layer) for s in spaces] == [
        ("W+", None, 0), ("F4", 16, 5), ("F6", 32, 7), ("F8", 64, 9), ("F10", 128, 11)]


def test_zero_direction_changes_nothing(tiny):
    w = torch.randn(2, tiny.num_layers, 8)
    deltas = {"F4": torch.randn(2, 8, 16, 16)}
    masks = {"F4": torch.rand(2, 1, 16, 16).round()}  # a soft mask weighs the change by m^2 in the published edit
    formed = tiny.synthesis(w, deltas, masks, noise="none")
    close(tiny.edit(w, torch.zeros(tiny.num_layers, 8), deltas, masks), formed, 1e-5)


def test_an_edit_reaches_a_segment_through_the_rows_after_its_space(tiny):
    """With all of the image in F6, rows before F6.layer act on the image through early ToRGBs only; later rows act."""
    for resolution in (4, 8, 16, 32):  # the ToRGB of a block does not see the change made after it
        getattr(tiny.synthesis_network, f"b{resolution}").torgb.weight.zero_()
    w = torch.randn(1, tiny.num_layers, 8)
    deltas = {"F6": torch.randn(1, 8, 32, 32)}
    layer = next(s.layer for s in tiny.spaces if s.name == "F6")
    early, late = torch.zeros(2, tiny.num_layers, 8)
    early[:layer], late[layer:] = 3.0, 3.0
    unedited = tiny.synthesis(w, deltas, noise="none")
    close(tiny.edit(w, early, deltas), unedited, 1e-5)
    assert (tiny.edit(w, late, deltas) - unedited).abs().mean() > 0.1 * unedited.abs().mean()
    assert (tiny.edit(w, early) - unedited).abs().mean() > 0.1 * unedited.abs().mean()


def test_the_image_before_a_space_can_be_kept_too(tiny):
    """As published, early rows show inside a segment of F6 through early ToRGBs; with published=False not at all."""
    w, early, direction = torch.randn(1, tiny.num_layers, 8), torch.zeros(tiny.num_layers, 8), torch.randn(tiny.num_layers, 8)
    early[:next(s.layer for s in tiny.spaces if s.name == "F6")] = 3.0
    deltas, half = {"F6": torch.randn(1, 8, 32, 32)}, torch.zeros(1, 1, 32, 32)
    half[..., :16] = 1
    unedited = tiny.synthesis(w, deltas, noise="none")
    assert (tiny.edit(w, early, deltas) - unedited).abs().mean() > 0.01 * unedited.abs().mean()
    close(tiny.edit(w, early, deltas, published=False), unedited, 1e-5)

    blocks, x, rgb = tiny.synthesis_network.blocks(), None, None
    for block in blocks:  # by hand: the unedited code up to 32 px, and the edited one from there on
        code = w if block.resolution <= 32 else w + direction
        x, rgb = block(x, rgb, code, "none", w.dtype)
        x = x + deltas["F6"] if block.resolution == 32 else x
    close(tiny.edit(w, direction, deltas, published=False), rgb, 1e-5)

    unedited = tiny.synthesis(w, deltas, {"F6": half}, noise="none")
    published, kept = (tiny.edit(w, early, deltas, {"F6": half}, published=way) for way in (True, False))
    inside, outside = slice(0, tiny.resolution * 3 // 8), slice(tiny.resolution * 5 // 8, None)  # clear of the border
    close(kept[..., inside], unedited[..., inside], 1e-5)
    close(kept[..., outside], published[..., outside], 1e-5)
    assert (kept - unedited)[..., outside].abs().mean() > 0.01 * unedited.abs().mean()


def test_batch_is_singles(tiny):
    w = torch.randn(3, tiny.num_layers, 8)
    deltas = {s.name: torch.randn(3, 8, s.resolution, s.resolution) for s in tiny.spaces[1:]}
    masks = {s.name: (torch.rand(3, 1, s.resolution, s.resolution) > 0.5).float() for s in tiny.spaces[1:]}
    direction = torch.randn(tiny.num_layers, 8)
    batch = tiny.edit(w, direction, deltas, masks)
    for i in range(3):
        one = tiny.edit(w[i:i + 1], direction, {k: v[i:i + 1] for k, v in deltas.items()},
                        {k: v[i:i + 1] for k, v in masks.items()})
        close(batch[i:i + 1], one, 1e-5)


def test_noise_names_and_shapes_are_checked(tiny):
    w = torch.randn(1, tiny.num_layers, 8)
    with pytest.raises(ValueError, match="noise 'loud'"):
        tiny.synthesis(w, noise="loud")
    with pytest.raises(ValueError, match="F10"):
        tiny.synthesis(w, {"F10": torch.zeros(1, 8, 128, 128)})
    with pytest.raises(ValueError, match="want \\(N, 8, 16, 16\\)"):
        tiny.synthesis(w, {"F4": torch.zeros(1, 4, 16, 16)})
    with pytest.raises(ValueError, match="w_plus"):
        tiny.synthesis(w[:, :3])
    with pytest.raises(ValueError, match="no feature space 'W\\+' in this generator; it has F4"):
        tiny.synthesis(w, {"W+": torch.zeros(1, 8, 16, 16)})
    for shape in ((8,), (3, 8), (2, tiny.num_layers, 8), (1, 1, tiny.num_layers, 8)):
        with pytest.raises(ValueError, match="the direction has shape"):
            tiny.edit(w, torch.zeros(shape))


def test_discriminator_gives_one_logit_per_image():
    torch.manual_seed(0)
    net = Discriminator(32, {r: 8 for r in (4, 8, 16, 32)})
    x = torch.randn(8, 3, 32, 32, requires_grad=True)
    logits = net(x)
    assert logits.shape == (8,)
    logits.sum().backward()
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all()


def test_low_passed_filters_are_a_convolution_and_the_filter():
    """As in the reference: up = transposed convolution, then filter; down = filter, then convolution with stride 2."""
    from samlib.stylegan2 import low_passed, resample_kernel

    conv = torch.nn.functional
    torch.manual_seed(0)
    x, w = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3)
    kernel = resample_kernel()
    up = conv.conv_transpose2d(x, w.transpose(0, 1), stride=2)
    up = conv.conv2d(up, kernel.expand(5, 1, 4, 4), padding=1, groups=5)
    close(conv.conv_transpose2d(x, low_passed(w).transpose(0, 1), stride=2, padding=2), up, 1e-5)
    for k, pad in ((3, 2), (1, 1)):
        down = conv.conv2d(x, kernel.expand(3, 1, 4, 4), padding=pad, groups=3)
        down = conv.conv2d(down, w[:, :, :k, :k], stride=2)
        close(conv.conv2d(x, low_passed(w[:, :, :k, :k]), stride=2, padding=pad), down, 1e-5)
