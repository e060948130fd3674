"""Files <-> tensors. The only place that knows pixel ranges: an image is a float tensor (N, 3, H, W) in [-1, 1]."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from samlib import paths

MAX_PIXELS = 100_000_000
# Raster formats only: Pillow would hand others (EPS, ...) to programs of their own.
READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
WRITE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


class ImageError(ValueError):
    """A file that is no readable image; the message is one line and names the file."""


def to_uint8(images):
    """(..., 3, H, W) floats in [-1, 1] -> (..., H, W, 3) uint8 on the CPU; what is outside the range is clipped."""
    pixels = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return pixels.round().to(torch.uint8).movedim(-3, -1).cpu()


def from_uint8(pixels):
    """(..., H, W, 3) uint8, tensor or array -> (..., 3, H, W) floats in [-1, 1]."""
    pixels = pixels if torch.is_tensor(pixels) else torch.from_numpy(np.array(pixels))  # a copy that may be written to
    return pixels.movedim(-1, -3).float() / 127.5 - 1


def read_image(path, size=None, fit="crop"):
    """Read a picture file of any size, aspect and mode -> (1, 3, H, W) in [-1, 1].

    size  the side of the picture's central square, fit="crop", or of the longer side of the whole picture,
          fit="whole", which `to_square` can pad; None: as large as it is.
    Transparency is laid over white, EXIF rotation applied, of an animation the first frame taken, and 16-bit
    grey brought to 8. Raises ImageError for what is not a readable picture of at most 100 megapixels.
    """
    if fit not in ("crop", "whole"):
        raise ValueError(f"fit is 'crop' or 'whole', got {fit!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata in a file that can be read all the same, and of size
        image = _to_rgb(_decode(Path(path)), path)
        image = image if size is None else _cut(image, size, fit)
    images = from_uint8(image)[None]
    scale = 1 if size is None else size / max(image.size)
    return _resize(images, tuple(max(1, round(side * scale)) for side in images.shape[-2:]))


def check(images):
    """One ValueError unless these are images (N, 3, H, W), floats in [-1, 1]; a hundredth beyond may be rounding."""
    _check_shape(images)
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; want floats in [-1, 1]: divide bytes by 127.5 and subtract 1")
    low, high = torch.stack(images.aminmax()).tolist()
    if not -1.01 <= low <= high <= 1.01:  # nor is it if one is NaN
        raise ValueError(f"images have values from {low:g} to {high:g}; want [-1, 1]: scale them, or clamp what is a little outside")


def check_valid(valid, images):
    """One ValueError unless something is valid, as `to_square` says it, in each of images (N, 3, R, R); None: everything is."""
    wanted = (len(images), 1, *images.shape[2:])
    if valid is not None and tuple(valid.shape) != wanted:
        raise ValueError(f"valid has shape {tuple(valid.shape)}; want {wanted}, 1 where the images were not padded")
    if valid is not None and not valid.flatten(1).any(1).all():
        raise ValueError("valid is 0 all over an image; want something valid in every image")


def _check_shape(images):
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images of shape (N, 3, H, W) are wanted, got {tuple(images.shape)}")


def to_square(images, size, fit="crop"):
    """(N, 3, H, W) of any shape -> (N, 3, size, size), and the valid region (N, 1, size, size): 1 where the image is.

    fit  "crop" keeps the central square, all of it valid;
         "pad" keeps the whole image in the middle and repeats its border around it, where valid is 0.
    Resized with antialiasing; a square image of the right size comes back as it is.
    """
    _check_shape(images)
    if fit not in ("crop", "pad"):
        raise ValueError(f"fit is 'crop' or 'pad', got {fit!r}")
    height, width = images.shape[-2:]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = _resize(images[..., top:top + side, left:left + side], (size, size))
        return images, images.new_ones(len(images), 1, size, size)
    scale = size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    around = (left, size - inner[1] - left, top, size - inner[0] - top)
    images = _resize(images, inner)
    valid = F.pad(images.new_ones(len(images), 1, *inner), around)
    return F.pad(images, around, mode="replicate"), valid


def to_aspect(images, aspect):
    """The middle of images (N, 3, H, W) that has this (width, height) as its aspect, as large as there is; None: as they are."""
    if aspect is None:
        return images
    size, (across, down) = images.shape[-2:], aspect
    height, width = max(1, min(size[0], round(size[1] * down / across))), max(1, min(size[1], round(size[0] * across / down)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return images[..., top:top + height, left:left + width]


def framed(valid, aspect):
    """valid (N, 1, R, R) inside the largest box of this (width, height) in the middle, 0 outside; None: as it is."""
    if aspect is None:
        return valid
    size = valid.shape[-1]
    width, height = (round(size * side / max(aspect)) for side in aspect)
    box = torch.zeros_like(valid)
    top, left = (size - height) // 2, (size - width) // 2
    box[..., top:top + height, left:left + width] = 1
    return valid * box


def box_of(images, valid, least=32):
    """An index into images (N, 3, R, R): the smallest box, `least` pixels wide and high, with all that is valid in it."""
    if valid is None:
        return (...,)
    box = [...]
    for others, side in (((0, 1, 3), images.shape[-2]), ((0, 1, 2), images.shape[-1])):
        used = valid.amax(others).nonzero()
        start, end = int(used.min()), int(used.max()) + 1
        start = max(0, min(start - (least - (end - start)) // 2, side - least)) if end - start < least else start
        box.append(slice(start, max(end, start + least)))
    return tuple(box)


def surround(part, box, size, fill=0):
    """What was made of `images[box]`, (..., h, w), back in its place in squares (..., size, size) of `fill`."""
    whole = part.new_full((*part.shape[:-2], size, size), fill)
    whole[box] = part
    return whole


def write_image(path, images):
    """Write one image, (3, H, W) or (1, 3, H, W) in [-1, 1], as PNG, JPEG or WebP by suffix: whole, or not at all."""
    path = Path(path)
    if path.suffix.lower() not in WRITE_FORMATS:
        raise ValueError(f"{path.name}: the suffix says the format and is one of {', '.join(WRITE_FORMATS)}")
    pixels = to_uint8(_single(images)).numpy()
    with paths.atomic_file(path) as temporary:
        Image.fromarray(pixels).save(temporary, WRITE_FORMATS[path.suffix.lower()], quality=95)


def to_png(images):
    """One image, (3, H, W) or (1, 3, H, W) in [-1, 1] -> the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(_single(images)).numpy()).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _single(images):
    if images.ndim == 4 and len(images) == 1:
        images = images[0]
    if images.ndim != 3 or images.shape[0] != 3:
        raise ValueError(f"one image of shape (3, H, W) is wanted, got {tuple(images.shape)}")
    return images


def _resize(images, size):
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


def _decode(path):
    """The first frame of a file, decoded. Its size is checked from the header, before any pixel is."""
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if not path.is_file():
        raise ImageError(f"{path}: {'a folder' if path.is_dir() else 'not a regular file'}, not an image file")
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty")
    Image.init()
    too_large = f"at most {MAX_PIXELS // 1_000_000} megapixels are read, so make it smaller first"
    try:
        with open(path, "rb") as file:
            image = Image.open(file, formats=[name for name in READ_FORMATS if name in Image.OPEN])
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{path}: {image.width} x {image.height} pixels; {too_large}")
            image.load()
        return image
    except ImageError:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, from 179 megapixels
        raise ImageError(f"{path}: too many pixels; {too_large}") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read it") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{path}: not an image file that can be read (PNG, JPEG, WebP, ... are)") from None
    except Exception as error:  # a damaged file can raise nearly anything, depending on its format
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path}: damaged or cut short ({reason})") from None


def _cut(image, size, fit):
    """Cropped if so wished, and reduced by a whole number if far larger than needed: 100 megapixels never are floats."""
    if fit == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    factor = max(image.size) // (4 * size)
    return image.reduce(factor) if factor > 1 else image


def _to_rgb(image, path):
    """A decoded picture of any mode -> RGB: upright, over white, 8 bits."""
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF data say nothing about the pixels, which were read
        pass
    if image.mode.startswith(("I", "F")):
        image = _to_8_bits(image)
    try:
        if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except ValueError:
        raise ImageError(f"{path}: pixels of mode {image.mode} cannot be converted to RGB") from None


def _to_8_bits(image):
    """Grey of more than 8 bits: whole numbers count to 65535; floats to 1 if none is above, to 255 otherwise."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode == "F":
        values = values * (255 if values.max() <= 1 else 1)
    else:
        values = values / 257
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
