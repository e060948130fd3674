"""Records of what a stage's file was made from: kept in the file, compared before the file is used again."""

import hashlib
import json
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from samlib import kept, paths, scenes


def is_there(path: Path, record: dict) -> bool:
    """Whether a stage's file is there. ValueError if it was made from something else than this run's `record`."""
    if not path.exists():
        return False
    found = metadata(path).get("made_from") or {}
    for name, value in record.items():
        if found.get(name) != value:
            raise ValueError(f"{path}: made with {name} {found.get(name, 'unknown')}, this run has {value}; choose another "
                             "folder, or delete the file to have it made again")
    return True


def metadata(path: Path) -> dict:
    """What a stage wrote beside its tensors, or all of a JSON file."""
    try:
        if path.suffix == ".json":
            return dict(json.loads(path.read_text()))
        with safe_open(path, framework="pt") as file:
            return {name: json.loads(text) for name, text in (file.metadata() or {}).items() if name != "format"}
    except (SafetensorError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not whole ({error}); delete it, and it is made again") from None


def digest_of_headers(files) -> str:
    """Fingerprint of what inversions were made from."""
    return hashlib.sha256(json.dumps([metadata(file) for file in files], sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_of_scenes() -> str:
    """Fingerprint of the code that draws scenes, for the names of files of them: what other code drew is not taken for its."""
    return kept.digest(*map(kept.code_digest, sorted(Path(scenes.__file__).parent.glob("*.py"))))[:8]


def write_json(path: Path, values: dict) -> None:
    with paths.atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1))
