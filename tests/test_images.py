import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from samlib.images import ImageError, box_of, framed, from_uint8, read_image, surround, to_aspect, to_square, to_uint8, write_image

RED, WHITE = [1, -1, -1], [1, 1, 1]


def save(folder, image, name="photo.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def pixel(tensor, y, x):
    return tensor[0, :, y, x].tolist()


def test_uint8_round_trip_is_exact():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(16, 16, 1).expand(16, 16, 3)
    assert torch.equal(to_uint8(from_uint8(pixels)), pixels)
    assert from_uint8(pixels).min() == -1 and from_uint8(pixels).max() == 1


def test_to_uint8_clips_what_is_outside_the_range():
    assert to_uint8(torch.tensor([-3.0, 0.0, 3.0]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16", "I", "F", "CMYK", "YCbCr"])
def test_every_mode_of_a_white_picture_is_white(tmp_path, mode):
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.full((6, 8), 65535, np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(np.ones((6, 8), np.float32))
    else:
        image = Image.new("RGB", (8, 6), "white").convert(mode)
    path = save(tmp_path, image, "photo.tiff" if mode in ("F", "I", "CMYK", "YCbCr") else "photo.png")
    out = read_image(path)
    assert out.shape == (1, 3, 6, 8) and out.dtype == torch.float32
    assert torch.allclose(out, torch.ones(()), atol=0.02)


def test_grey_of_16_bits_keeps_its_level(tmp_path):
    path = save(tmp_path, Image.fromarray(np.full((4, 4), 65535 // 4, np.uint16)))
    assert read_image(path).mean().item() == pytest.approx(-0.5, abs=0.01)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_what_is_transparent_becomes_white(tmp_path, mode):
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 2))
    if mode == "P":
        path = save(tmp_path, image.convert("RGB").convert("P"), transparency=0)
        assert pixel(read_image(path), 0, 0) == WHITE
    else:
        out = read_image(save(tmp_path, image.convert(mode)))
        assert pixel(out, 0, 0) == WHITE and pixel(out, 0, 3) == [-1, -1, -1]


@pytest.mark.parametrize("orientation, corner", [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)),
                                                 (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    image = Image.new("RGB", (8, 6), "white")
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = read_image(save(tmp_path, image, exif=exif))
    assert out.shape[-2:] == ((8, 6) if orientation > 4 else (6, 8))
    assert pixel(out, *corner) == RED


def test_broken_exif_does_not_hide_the_picture(tmp_path):
    path = save(tmp_path, Image.new("RGB", (8, 6), "red"), exif=b"Exif\x00\x00MM\x00*nonsense")
    assert pixel(read_image(path), 0, 0) == RED


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(tmp_path, frames[0], f"photo.{suffix}", save_all=True, append_images=frames[1:])
    assert torch.allclose(read_image(path)[0, :, 1, 1], torch.tensor(RED).float(), atol=0.03)


@pytest.mark.parametrize("width, height", [(1, 1), (1, 40), (3000, 2), (17, 31), (64, 64), (300, 200)])
def test_any_size_and_aspect_becomes_a_square_in_range(tmp_path, width, height):
    path = save(tmp_path, Image.effect_noise((width, height), 90))
    for out in (read_image(path, 32), to_square(read_image(path, 32, "whole"), 32, "pad")[0]):
        assert out.shape == (1, 3, 32, 32) and out.min() >= -1 and out.max() <= 1


@pytest.mark.parametrize("width, height, wanted", [(300, 200, (21, 32)), (40, 80, (32, 16)), (1, 400, (32, 1))])
def test_the_whole_picture_keeps_its_aspect(tmp_path, width, height, wanted):
    assert read_image(save(tmp_path, Image.new("L", (width, height))), 32, "whole").shape[-2:] == wanted


def test_a_file_is_cropped_as_a_tensor_is(tmp_path):
    path = save(tmp_path, Image.effect_noise((47, 30), 90))
    assert torch.allclose(read_image(path, 16), to_square(read_image(path), 16)[0], atol=1e-6)


def test_crop_keeps_the_middle():
    wide = torch.full((1, 3, 8, 24), -1.0)
    wide[..., 8:16] = 1
    square, valid = to_square(wide, 8)
    assert torch.equal(square, torch.ones(1, 3, 8, 8)) and valid.min() == 1


def test_pad_keeps_the_whole_and_says_what_is_image():
    wide = torch.rand(2, 3, 8, 16)
    square, valid = to_square(wide, 16, "pad")
    assert torch.equal(square[..., 4:12, :], wide)
    assert torch.equal(square[..., 0, :], wide[..., 0, :])  # the border goes on
    assert valid.shape == (2, 1, 16, 16) and valid[..., 4:12, :].min() == 1
    assert valid.sum() == 2 * 8 * 16


def test_a_square_of_the_right_size_is_left_alone():
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert all(torch.equal(to_square(image, 16, fit)[0], image) for fit in ("crop", "pad"))


def test_shrinking_does_not_alias(tmp_path):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    out = read_image(save(tmp_path, Image.fromarray(stripes)), 32)
    assert out.abs().max() < 0.1  # the mean of black and white everywhere


@pytest.mark.parametrize("name, tolerance", [("a.png", 1e-2), ("a.jpg", 0.1), ("a.webp", 0.1)])
def test_write_then_read(tmp_path, name, tolerance):
    image = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    write_image(tmp_path / "new" / name, image)
    assert torch.allclose(read_image(tmp_path / "new" / name), image, atol=tolerance)
    assert os.listdir(tmp_path / "new") == [name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", torch.ones(3, 4, 4))
    before = (tmp_path / "a.png").read_bytes()

    def fail(self, file, *args, **kwargs):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(tmp_path / "a.png", -torch.ones(3, 4, 4))
    assert (tmp_path / "a.png").read_bytes() == before and os.listdir(tmp_path) == ["a.png"]


def bad_files(folder):
    good = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(good, "PNG")
    jpeg = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(jpeg, "JPEG")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(good.getvalue()[:-900])
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[:-900])
    (folder / "header.png").write_bytes(good.getvalue()[:20])
    (folder / "text.png").write_text("hello\n" * 100)
    (folder / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return {"missing.png": "no such file", "empty.png": "empty", "cut.png": "cut short", "cut.jpg": "cut short",
            "header.png": "", "text.png": "not an image", "page.eps": "not an image", "folder.png": "a folder",
            "pipe.png": "not a regular file"}


def test_each_bad_file_gets_one_line_that_names_it(tmp_path):
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name, 32)
        message = str(caught.value)
        assert name in message and words in message and "\n" not in message


@pytest.mark.parametrize("side", [10_001, 14_000])  # over our limit, and over Pillow's own
def test_an_enormous_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side):
    path = save(tmp_path, Image.new("1", (side, side)))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="pixels; at most 100 megapixels"):
        read_image(path)


def test_a_large_picture_is_read_at_the_size_asked_for(tmp_path):
    path = save(tmp_path, Image.new("L", (9_500, 10_000), 255))
    assert read_image(path, 32).mean() == 1


def test_bad_arguments_say_what_is_wanted(tmp_path):
    with pytest.raises(ValueError, match="png, .jpg, .jpeg, .webp"):
        write_image(tmp_path / "a.xyz", torch.ones(3, 4, 4))
    with pytest.raises(ValueError, match="one image of shape"):
        write_image(tmp_path / "a.png", torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        to_square(torch.ones(3, 4, 4), 8)
    with pytest.raises(ValueError, match="'crop' or 'pad'"):
        to_square(torch.ones(1, 3, 4, 4), 8, "squeeze")
    with pytest.raises(ValueError, match="'crop' or 'whole'"):
        read_image(tmp_path / "a.png", 8, "squeeze")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("aspect, rows, columns", [((4, 3), (8, 56), (0, 64)), ((512, 384), (8, 56), (0, 64)),
                                                   ((1, 2), (0, 64), (16, 48)), ((7, 7), (0, 64), (0, 64))])
def test_the_frame_of_an_aspect_is_in_the_middle(aspect, rows, columns):
    valid = framed(torch.ones(2, 1, 64, 64), aspect)
    assert valid.sum() == 2 * (rows[1] - rows[0]) * (columns[1] - columns[0])
    assert valid[..., slice(*rows), slice(*columns)].all()
    part = torch.zeros(2, 1, 64, 64)
    part[..., 10:20, :] = 1
    assert framed(part, aspect).sum() <= part.sum() and framed(part, None) is part


@pytest.mark.parametrize("aspect, rows, columns", [((4, 3), range(30), range(10, 50)), ((1, 1), range(30), range(15, 45)),
                                                   ((4, 1), range(7, 22), range(60)), (None, range(30), range(60))])
def test_the_middle_of_an_aspect_is_as_large_as_there_is(aspect, rows, columns):
    images = torch.arange(30 * 60.0).reshape(1, 1, 30, 60).expand(2, 3, -1, -1)
    assert torch.equal(to_aspect(images, aspect), images[..., rows.start:rows.stop, columns.start:columns.stop])


def test_the_box_holds_all_that_is_valid_and_is_large_enough():
    images = torch.rand(2, 3, 64, 64)
    assert images[box_of(images, None)].shape == images.shape
    for rows, columns, wanted in (((8, 56), (0, 64), (48, 64)), ((30, 34), (0, 64), (32, 64)), ((0, 5), (60, 64), (32, 32)),
                                  ((63, 64), (3, 50), (32, 47))):
        valid = torch.zeros(2, 1, 64, 64)
        valid[1, :, slice(*rows), slice(*columns)] = 1
        box = box_of(images, valid)
        assert images[box].shape[2:] == wanted and valid[box].sum() == valid.sum()
        whole = surround(images[box], box, 64, -1)
        assert torch.equal(whole[box], images[box]) and (whole == -1).sum() == 6 * (64 * 64 - wanted[0] * wanted[1])
