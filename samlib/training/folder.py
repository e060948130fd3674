"""A folder of images as training data: every readable picture once, and some of them held out.

The published code validated on its training folder. Here the first fifth by the digest of their pixels is held out, at most
64: names, order and copies of a file change nothing, but images that are added, or taken away, may change which these are.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from samlib.images import ImageError, read_image, to_square
from samlib.training.loop import as_uint8


def files_of(folder) -> list[Path]:
    """All files in `folder` and the folders in it, hidden ones left out, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; want a folder of images")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not files:
        raise ValueError(f"{folder} has no files; want a folder of images")
    return files


def read_folder(folder, size: int, fit: str = "crop", skip_unreadable: bool = False, progress: bool = True) -> Tensor:
    """The images of a folder as uint8 (N, 3, size, size), each different picture once, in the order of their digests.

    fit  "crop": the central square; "whole": all of it, padded to a square by repeating its border.
    A file that is no readable image raises one ValueError that names it, or is named and left out.
    """
    found, bad, files = {}, [], files_of(folder)
    for path in tqdm(files, desc="reading images", disable=not progress):
        try:
            image = as_uint8(to_square(read_image(path, size, fit), size, "pad")[0])
        except ImageError as error:
            bad.append(" ".join(str(error).split()))
            continue
        found[hashlib.sha256(image.numpy().tobytes()).hexdigest()] = image
    if bad:
        named = "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
        if not skip_unreadable:
            raise ValueError(f"{len(bad)} of {len(files)} files are no readable images: {named}. Take them away, or skip "
                             "them (--skip-unreadable)")
        print(f"skipped {len(bad)} of {len(files)} files: {named}")
    if len(found) < 2:
        raise ValueError(f"{folder} has {len(found)} different image{'s' * (len(found) != 1)}; want 2 at least, since some are held out")
    return torch.cat([found[digest] for digest in sorted(found)])


def split(images: Tensor, most: int = 64, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """(training images, held-out images) of what `read_folder` gave: the first `share` by digest, at most `most`, are
    held out, and at least one is on either side."""
    count = min(max(1, round(share * len(images))), most)
    return images[count:], images[:count]
