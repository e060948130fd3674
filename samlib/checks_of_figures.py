"""How the claims of the paper's figures are judged by the numbers of a run.

A check takes the numbers that a notebook or the training recorded, and the category -> what was found, as text, and whether it is what
the paper claims. It raises KeyError with the name of a number that the run has not.
"""

from collections.abc import Mapping

from samlib.encode import ENCODERS
from samlib.published import TABLE1

OPTIMIZATIONS = tuple(method for method in TABLE1 if method not in ENCODERS)
CLOSE = 21.0  # dB: the least that Table 1 has for SAM, horses
SEEN = 0.005  # mean change of the picture, in units of [-1, 1], from which on an edit is one


def listed(values: Mapping[str, float], digits=1, unit="") -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items()) + unit


def mean(values) -> float:
    values = list(values)
    if not values:
        raise KeyError("values")
    return sum(values) / len(values)


def column(rows: Mapping, key: str, among=None) -> dict:
    """{name: row[key]}, of those in `among`; KeyError where there is none, or "sam" alone."""
    found = {name: row[key] for name, row in rows.items() if among is None or name in among}
    if len(found) < 2:
        raise KeyError("methods to compare")
    return found


def without(found, expected) -> str:
    """What a run left out of a comparison."""
    missing = [name for name in expected if name not in found]
    return f"; without {', '.join(missing)}" if missing else ""


def teaser(numbers, domain):
    psnr, lpips, changed = numbers["psnr"], numbers["lpips"], {name: mean(row.values()) for name, row in numbers["changed"].items()}
    late = next(name for name in psnr if name not in ("W+", "SAM"))
    text = f"{listed(psnr)} dB; LPIPS {listed(lpips, 3)}; an edit changes {listed(changed, 3)}"
    editable = changed["SAM"] > max(1.5 * changed[late], SEEN)
    return text, psnr["SAM"] > psnr["W+"] and lpips["SAM"] < lpips["W+"] and editable


def predicted(r):
    return f"r: {listed(r, 2)}", mean(r.values()) > 0.4 and min(r.values()) > 0.2


def rising(psnr):
    found = list(psnr.values())
    return listed(psnr, unit=" dB"), len(found) > 1 and all(a < b for a, b in zip(found, found[1:]))


def rising_in_training(numbers, domain):
    return rising({space: row["psnr"] for space, row in numbers["reconstruction"]["challenging"].items() if space != "sam"})


def edits_that_work(numbers, domain):
    count = {space: sum(row.values()) for space, row in numbers["works"].items()}
    found = list(count.values())
    return f"{listed(count, 0)}, of {len(numbers['works']['W+'])}", found == sorted(found, reverse=True) and found[-1] < found[0]


def formation(numbers, domain):
    psnr = list(numbers["psnr_so_far"].values())
    return f"w+ alone {psnr[0]:.1f} dB, with all changes {psnr[-1]:.1f} dB", psnr[-1] > psnr[0] + 0.5


def close(numbers, domain):
    return f"{mean(numbers['psnr']):.1f} dB", mean(numbers["psnr"]) > CLOSE


def editable(numbers, domain):
    allowed, moved = numbers["permitted"], numbers["moved"]
    text = f"allowed in this share of the images: {listed(allowed, 2)}; change of the picture where allowed: {listed(moved, 3) or '-'}"
    return text, bool(moved) and min(moved.values()) > SEEN


def some_not_editable(numbers, domain):
    allowed = numbers["permitted"]
    return f"allowed in this share of the images: {listed(allowed, 2)}", 0 < mean(allowed.values()) < 1


def runtime(numbers, domain):
    own, lead = numbers["curves"]["sam"]["seconds"], numbers["lead"]
    ahead, before = ([dB for second, dB in zip(lead["seconds"], lead["dB"]) if (second >= lead["from"]) == late] for late in (True, False))
    text = f"{min(ahead):+.1f} to {max(ahead):+.1f} dB over the best other, from {1e3 * lead['from']:.1f} ms an image on"
    text += f"; {min(before):+.1f} dB at {1e3 * own[0]:.1f} ms, with SAM's first step" if before else ""
    return text + without(numbers["curves"], OPTIMIZATIONS), min(ahead) > 0


def runtime_encoders(numbers, domain):
    found = {name: point["psnr"][0] for name, point in numbers["points"].items()}
    if len(found) < 2:
        raise KeyError("encoders to compare")
    return listed(found, unit=" dB") + without(found, ENCODERS), found["sam-encoder"] == max(found.values())


def encoders_take(numbers, domain):
    curve, own = numbers["curves"]["w+"], numbers["points"]["sam-encoder"]["psnr"][0]
    found = {name: 1e3 * point["seconds"][0] for name, point in numbers["points"].items()}
    others = [value for name, value in found.items() if name != "sam-encoder"]
    if not others:
        raise KeyError("encoders to compare")
    as_far = [1e3 * second for second, psnr in zip(curve["seconds"], curve["psnr"]) if psnr >= own]
    text = f"{listed(found)} ms an image" + (f"; the optimization in W+ comes as far in {as_far[0]:.1f} ms" if as_far else "")
    return text, found["sam-encoder"] <= max(others)


def closest(numbers, domain, expected=("w+", "pti", "sam")):
    psnr, lpips = column(numbers, "psnr"), column(numbers, "lpips")
    text = f"{listed(psnr, unit=' dB')}; LPIPS {listed(lpips, 3)}{without(psnr, expected)}"
    return text, max(psnr, key=psnr.get) == min(lpips, key=lpips.get) == "sam"


def effects(rows: Mapping) -> tuple[dict, dict]:
    """How far the edits of each method go, and what else they change; means over the edits where there are several."""
    return tuple({name: mean(value.values()) if isinstance(value, Mapping) else value for name, value in column(rows, key).items()}
                 for key in ("change", "rest"))


def keeps_the_rest(numbers, domain):
    """For an edit that does nothing changes nothing else either, the rest counts in proportion to how far the edit goes."""
    change, rest = effects(numbers)
    share = {name: rest[name] / change[name] for name in rest}
    return f"{listed(share, 3)} (of the change {listed(rest, 4)})", share["sam"] == min(share.values())


def goes_as_far(numbers, domain):
    change, _ = effects(numbers)
    other = max(value for name, value in change.items() if name != "sam")
    return f"of what they promise: {listed(change, 2)}", change["sam"] >= 0.7 * other


def architecture(numbers, domain):
    parts, spaces = numbers["parts"], numbers["spaces"]
    heads = {(part["text"], part["weights"]) for part in parts["heads"]}
    text = f"{parts['base']['shape'][0]} channels, {len(parts['heads'])} heads for {', '.join(spaces)}: {parts['heads'][0]['text']}"
    return text, parts["base"]["shape"][0] == 8 and len(parts["heads"]) == len(spaces) and len(heads) == 1


def layers_of_a_head(numbers, domain):
    count = numbers["parts"]["heads"][0]["text"].count("conv")
    return f"{count} convolutions", count == 3


def no_feature_loss(numbers, domain):
    psnr, delta = column(numbers, "psnr"), column(numbers, "delta")
    text = f"{listed(psnr, unit=' dB')}; size of the change of features: {listed(delta, 3)}"
    return text, psnr["without"] > psnr["with L_F"] - 1 and delta["without"] > 1.1 * delta["with L_F"]


def edits_go_further(better, worse, noise=0.0):
    """noise: by how much the difference varies between two runs of the same, so that a smaller one says nothing."""
    def check(numbers, domain):
        change = {name: mean(numbers[name]["change"].values()) for name in (better, worse)}
        edits = {name: listed(numbers[name]["change"], 2) for name in change}
        return "; ".join(f"{name} {change[name]:.3f} ({edits[name]})" for name in change), change[better] > change[worse] + noise
    return check


def torn(numbers, domain):
    spaces = {name: row["spaces_per_segment"] for name, row in numbers.items()}
    cut = {name: mean(row["torn"].values()) for name, row in numbers.items()}
    text = f"spaces of a segment: {listed(spaces, 2)}; share of segments torn by an edit: {listed(cut, 2)}"
    text += f"; {listed({name: row['psnr'] for name, row in numbers.items()})} dB"
    return text, spaces["refined"] == 1 < spaces["not refined"] and cut["refined"] < cut["not refined"]


def by_class(numbers, domain):
    psnr, whole = ({name: row[key] for name, row in numbers.items()} for key in ("psnr_object", "psnr"))
    return f"of the object {listed(psnr)} dB; of all of the image {listed(whole)} dB", psnr["predicted"] > psnr["by class"]


def backbones(numbers):
    """The names of the two metrics that were minimized, AlexNet's first, and what each inversion is by either."""
    alex, vgg = (next(name for name in numbers if name.endswith(end)) for end in ("alex", "vgg"))
    return alex, vgg, {by: {name: numbers[name][by] for name in (alex, vgg)} for by in (alex, vgg, "psnr", "sharpness")}


def closer_by_vgg(numbers, domain):
    """Each is the closer one by the distance that it minimizes; PSNR minimizes neither."""
    alex, vgg, found = backbones(numbers)
    text = f"PSNR {listed(found['psnr'], 2)} dB; distance by VGG {listed(found[vgg], 3)}, by AlexNet {listed(found[alex], 3)}"
    return text, found["psnr"][vgg] > found["psnr"][alex] and found[vgg][vgg] < found[vgg][alex]


def sharp_as_the_input(numbers, domain):
    alex, vgg, found = backbones(numbers)
    sharp = found["sharpness"]
    return f"sharpness over the input's: {listed(sharp, 2)}", abs(1 - sharp[vgg]) <= abs(1 - sharp[alex])


def tau_sweep(numbers, domain):
    rows = sorted(((float(tau), row["psnr"], row["shares"]["W+"]) for tau, row in numbers.items()))
    text = "; ".join(f"{tau:g}: {psnr:.1f} dB, {share:.0%} in W+" for tau, psnr, share in rows)
    _, psnr, shares = zip(*rows)
    return text, list(psnr) == sorted(psnr, reverse=True) and list(shares) == sorted(shares) and shares[-1] > shares[0]


def biggan(numbers, domain):
    own, plain = numbers["sam-F2"]["psnr"], numbers["z+"]["psnr"]
    return f"Z+ alone {plain:.1f} dB, Z+ and F2 {own:.1f} dB ({own - plain:+.1f})", own > plain


def class_change(numbers, domain):
    shares = {name.removeprefix("class_change_"): row["both"] for name, row in numbers.items() if name.startswith("class_change_")}
    if not shares:
        raise KeyError("changes of class")
    return f"class changed and pose kept: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}", min(shares.values()) >= 0.8
