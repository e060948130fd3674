"""How the claims of the paper's tables and sentences are judged; see checks_of_figures. What ends in `_quoted` gives the paper's
numbers for a category.
"""

from samlib import published
from samlib.checks_of_figures import closest, column, goes_as_far, keeps_the_rest, listed, without
from samlib.published import CATEGORIES, TABLE2

SMALL = 0.05  # of the change that an edit promises: below it, a ratio of two effects says nothing


def best_of(among, own, ratio=1.0, gain=0.0):
    """`own` has at most `ratio` times the LPIPS of the best other method, and `gain` dB more than the best other."""
    def check(numbers, domain):
        lpips, psnr = column(numbers["methods"], "lpips", among), column(numbers["methods"], "psnr", among)
        factor, ahead = margins(lpips, psnr, own)
        text = f"LPIPS {listed(lpips, 3)} (x{factor:.2f}); {listed(psnr)} dB ({ahead:+.1f}){without(psnr, among)}"
        return text, (factor <= ratio and ahead >= gain) if ratio < 1 else (factor < 1 and ahead > 0)
    return check


def margins(lpips, psnr, own):
    others = [name for name in psnr if name != own]
    return lpips[own] / min(lpips[name] for name in others), psnr[own] - max(psnr[name] for name in others)


def table1_quoted(among, own):
    def text(domain):
        lpips, psnr = ({name: published.table1(name, domain)[i] for name in among} for i in (0, 1))
        factor, ahead = margins(lpips, psnr, own)
        return f"{own}: LPIPS {lpips[own]:.2f} (x{factor:.2f}), {psnr[own]:.2f} dB ({ahead:+.1f})"
    return text


def pair_quoted(*methods):
    return lambda domain: "; ".join(f"{name}: LPIPS {value[0]:.2f}, {value[1]:.2f} dB" for name in methods
                                    if (value := published.table1(name, domain)))


def better_pair(worse, better, lpips_too=True):
    def check(numbers, domain):
        a, b = numbers["methods"][worse], numbers["methods"][better]
        text = f"{worse}: LPIPS {a['lpips']:.3f}, {a['psnr']:.1f} dB; {better}: LPIPS {b['lpips']:.3f}, {b['psnr']:.1f} dB"
        return text, b["psnr"] > a["psnr"] and (b["lpips"] < a["lpips"]) == lpips_too
    return check


def by_psnr(numbers, worse, better):
    a, b = (numbers["methods"][name]["psnr"] for name in (worse, better))
    return f"{worse} {a:.1f} dB, {better} {b:.1f} dB", b > a


def like_restyle(numbers, domain):
    own, other = numbers["methods"]["sam-encoder"], numbers["methods"]["restyle-psp"]
    text = f"sam-encoder: LPIPS {own['lpips']:.3f}, {own['psnr']:.1f} dB; restyle-psp: LPIPS {other['lpips']:.3f}, {other['psnr']:.1f} dB"
    return text, own["psnr"] > other["psnr"] - 1 and own["lpips"] < other["lpips"] + 0.03


def of_challenging(check):
    """The same check on what the training of the encoders measured, which says at which tau."""
    def of_scenes(numbers, domain):
        text, agrees = check({"methods": numbers["challenging"]}, domain)
        return f"{text}; SAM's at tau {numbers['tau']:g}", agrees
    return of_scenes


def preferred(numbers, domain):
    if not numbers["people"]:
        raise KeyError("answers of people")
    shares = [f"{row['baseline']} {row['task']} {row['share']:.0%} ({row['low']:.0%} to {row['high']:.0%})" for row in numbers["people"]]
    return ", ".join(shares), all(row["low"] > 0.5 for row in numbers["people"])


def preferred_quoted(domain):
    place = CATEGORIES.index(domain)
    return "; ".join(f"{name}: {row['inversion'][place]:.0f} % of inversions, {row['editing'][place]:.0f} % of edits"
                     for name, row in TABLE2.items())


def measured_closer(numbers, domain):
    return closest(numbers["measured"], domain, TABLE2)


def measured_effect(numbers, domain):
    return goes_as_far(numbers["measured"], domain)


def measured_rest(numbers, domain):
    return keeps_the_rest(numbers["measured"], domain)


def more_real(numbers, domain):
    kid = column(numbers["measured"], "kid")
    if min(kid.values()) < 0:  # it estimates a square, and so few images put it below 0
        raise KeyError("images enough for a KID")
    rows = numbers["measured"]
    before = {name: row["kid_before"] for name, row in rows.items() if "kid_before" in row}
    text = f"KID of the edited images: {listed(kid, 4)}" + (f" (before the edit {listed(before, 4)})" if before else "")
    return text + without(kid, TABLE2), kid["sam"] == min(kid.values())


def ticks(numbers, domain):
    cells = []
    for name, row in numbers["verdicts"].items():
        paper = published.ticks(domain, name, row) or []
        cells += [(f"{name} in {space} {'works' if ours else 'does not'}", ours == tick) for (space, ours), tick in zip(row.items(), paper)]
    if not cells:
        raise KeyError("directions of the paper")
    other = [text for text, same in cells if not same]
    return f"{len(cells) - len(other)} of {len(cells)} alike" + (f"; {', '.join(other)}" if other else ""), not other


def ticks_first(numbers, domain):
    rows = [list(row.values()) for row in numbers["verdicts"].values()]
    spaces = {name: sum(row.values()) for name, row in numbers["verdicts"].items()}
    return f"spaces that allow it: {listed(spaces, 0)}", all(row == sorted(row, reverse=True) for row in rows)


def all_in_w(numbers, domain):
    moved = numbers["moved"]["W+"]
    return f"of its way each goes {listed(moved, 2)}", all(numbers["works"]["W+"].values())


def few_in_the_last(numbers, domain):
    rows = numbers["verdicts"]
    own = [name for name in published.TABLE3[domain] if name in rows]
    works = [name for name in own if list(rows[name].values())[-1]]
    paper = [name for name, count in published.TABLE3[domain].items() if count == 5]
    return f"{len(works)} of {len(own)} ({', '.join(works) or 'none'})", len(works) == len(paper)


def last_quoted(domain):
    own = published.TABLE3[domain]
    return f"{sum(count == 5 for count in own.values())} of {len(own)}; 2 of all 16"


def own_backbone(numbers, domain):
    found = numbers["minimized"]
    return ", ".join(f"{name} {value}" for name, value in found.items()), found["sam"].endswith("vgg")


def sam_over_w(numbers, domain):
    gain, ratio = numbers["gain"], numbers["lpips_ratio"]
    return f"{gain:+.1f} dB, LPIPS x{ratio:.2f}", gain > 0 and ratio < 1


def sam_over_w_quoted(domain):
    (w_lpips, w_psnr), (lpips, psnr) = published.table1("w+", domain), published.table1("sam", domain)
    return f"{psnr - w_psnr:+.1f} dB, LPIPS x{lpips / w_lpips:.2f}"


def edits_kept(numbers, domain):
    rows = {name: row for name, row in numbers.items() if isinstance(row, dict) and "ratio" in row}
    small = [name for name, row in rows.items() if row["w+"]["change"] < SMALL]
    ratio, rest = ({name: row[key] for name, row in rows.items() if name not in small} for key in ("ratio", "rest_ratio"))
    if not ratio:
        raise KeyError("edits after SAM and after W+")
    text = f"effect over that after W+: {listed(ratio, 2)}; change of the rest at most x{max(rest.values()):.2f}"
    text += f"; not judged, as they do next to nothing after W+: {', '.join(small)}" if small else ""
    return text, min(ratio.values()) >= 0.7 and max(rest.values()) < 1


def easy_parts(numbers, domain):
    row = numbers["challenging"]
    own, alone = row["psnr_w_area"], row["psnr_w_area_by_w+"]
    return f"in the parts that SAM has in W+: SAM {own:.1f} dB, W+ alone {alone:.1f} dB", own > alone


def harder_is_later(numbers, domain):
    hard = numbers["challenging"]
    plain = next((row for row in numbers["ordinary"] if row["tau"] == hard["tau"]), None)
    if plain is None:
        raise KeyError("ordinary scenes at the same tau")
    shares = [row["shares"]["W+"] for row in (plain, hard)]
    return f"in W+ {shares[0]:.0%} of ordinary scenes, {shares[1]:.0%} of challenging ones", shares[1] < shares[0]
