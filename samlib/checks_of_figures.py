"""How the claims of the paper's figures are judged by the numbers of a run.

A check takes the numbers that a notebook or the training recorded, and the category -> what was found, as text, and whether it is what
the paper claims. It raises KeyError with the name of a number that the run has not.
"""

from collections.abc import Mapping

from samlib.encode import ENCODERS
from samlib.published import TABLE1

OPTIMIZATIONS = tuple(method for method in TABLE1 if method not in ENCODERS)
CLOSE = 21.0  # dB: the least that Table 1 has for SAM, horses


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
    return text, psnr["SAM"] > psnr["W+"] and lpips["SAM"] < lpips["W+"] and changed["SAM"] > 1.5 * changed[late]


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
    return text, bool(moved) and min(moved.values()) > 0.001


def some_not_editable(numbers, domain):
    allowed = numbers["permitted"]
    return f"allowed in this share of the images: {listed(allowed, 2)}", 0 < mean(allowed.values()) < 1


def runtime(numbers, domain):
    begin = numbers["curves"]["sam"]["seconds"][3]  # all begin at the same code
    ahead = [dB for second, dB in zip(numbers["lead"]["seconds"], numbers["lead"]["dB"]) if second >= begin]
    text = f"from SAM's fourth step on {min(ahead):+.1f} to {max(ahead):+.1f} dB over the best other"
    return text + without(numbers["curves"], OPTIMIZATIONS), min(ahead) > 0


def runtime_encoders(numbers, domain):
    found = {name: point["psnr"][0] for name, point in numbers["points"].items()}
    if len(found) < 2:
        raise KeyError("encoders to compare")
    return listed(found, unit=" dB") + without(found, ENCODERS), found["sam-encoder"] == max(found.values())


def closest(numbers, domain, expected=("w+", "pti", "sam")):
    psnr, lpips = column(numbers, "psnr"), column(numbers, "lpips")
    text = f"{listed(psnr, unit=' dB')}; LPIPS {listed(lpips, 3)}{without(psnr, expected)}"
    return text, max(psnr, key=psnr.get) == min(lpips, key=lpips.get) == "sam"


def keeps_the_rest(numbers, domain):
    rest = {name: mean(row["rest"].values()) for name, row in numbers.items()}
    return f"mean change outside of what is edited: {listed(rest, 4)}", rest["sam"] == min(rest.values())


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


def edits_go_further(better, worse):
    def check(numbers, domain):
        change = {name: mean(numbers[name]["change"].values()) for name in (better, worse)}
        edits = {name: listed(numbers[name]["change"], 2) for name in change}
        return "; ".join(f"{name} {change[name]:.3f} ({edits[name]})" for name in change), change[better] > change[worse]
    return check


def torn(numbers, domain):
    spaces = {name: row["spaces_per_segment"] for name, row in numbers.items()}
    cut = {name: mean(row["torn"].values()) for name, row in numbers.items()}
    text = f"spaces of a segment: {listed(spaces, 2)}; share of segments torn by an edit: {listed(cut, 2)}"
    return text, spaces["refined"] == 1 < spaces["not refined"] and cut["refined"] < cut["not refined"]


def by_class(numbers, domain):
    psnr = {name: row["psnr_object"] for name, row in numbers.items()}
    return f"{listed(psnr)} dB, of the object", psnr["predicted"] > psnr["by class"]


def backbone(numbers, domain):
    alex, vgg = (next(name for name in numbers if name.endswith(end)) for end in ("alex", "vgg"))
    lpips, sharp = ({name: numbers[name][key] for name in (alex, vgg)} for key in (vgg, "sharpness"))
    text = f"distance by VGG: {listed(lpips, 3)}; sharpness over the input's: {listed(sharp, 2)}"
    return text, lpips[vgg] < lpips[alex] and abs(1 - sharp[vgg]) <= abs(1 - sharp[alex])


def tau_sweep(numbers, domain):
    rows = sorted(numbers.items(), key=lambda row: float(row[0]))
    psnr, shares = {f"tau {tau}": row["psnr"] for tau, row in rows}, [row["shares"]["W+"] for _, row in rows]
    text = f"{listed(psnr)} dB; in W+ {', '.join(f'{share:.0%}' for share in shares)}"
    falls = list(psnr.values()) == sorted(psnr.values(), reverse=True)
    return text, falls and shares == sorted(shares) and shares[-1] > shares[0]


def biggan(numbers, domain):
    own, plain = numbers["sam-F2"]["psnr"], numbers["z+"]["psnr"]
    return f"Z+ alone {plain:.1f} dB, Z+ and F2 {own:.1f} dB ({own - plain:+.1f})", own > plain


def class_change(numbers, domain):
    shares = {name.removeprefix("class_change_"): row["both"] for name, row in numbers.items() if name.startswith("class_change_")}
    if not shares:
        raise KeyError("changes of class")
    return f"class changed and pose kept: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}", min(shares.values()) >= 0.8
