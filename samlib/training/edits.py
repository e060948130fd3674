"""What each edit of the built-in categories asks of the factors of a scene, and which parts of it the edit is about; Table 3's four of each
category come first."""

import torch

# Edit -> the change it asks of each factor, in standard deviations; factors left out shall stay.
EDITS = {
    "cars": {"size": {"size": 1}, "trees": {"trees": 1}, "wheel_type": {"wheel_type": 1},
             "red": {"red": 0.6, "green": -0.6, "blue": -0.6}, "blue": {"red": -0.6, "green": -0.3, "blue": 0.6},
             "pose": {"pose": 1}, "van": {"tail": 1}, "buildings": {"buildings": 1}},
    "horses": {"pose": {"pose": 1}, "saddle": {"saddle": 1}, "white": {"white": 1}, "trees": {"trees": 1},
               "ginger": {"ginger": 1}, "neck": {"neck": 1}, "mane": {"mane": 1}, "size": {"size": 1}},
    "cats": {"pose": {"pose": 1}, "eye_size": {"eye_size": 1}, "black": {"black": 1}, "red_nose": {"red_nose": 1},
             "white": {"white": 1}, "ginger": {"ginger": 1}, "ear_size": {"ear_size": 1}, "sitting": {"posture": 1}},
    "faces": {"glasses": {"glasses": 1}, "laughing": {"smile": 1}, "thick_eyebrows": {"brows": 1}, "age": {"age": 1},
              "pose": {"pose": 1}, "beard": {"beard": 1}, "hair_length": {"hair_length": 1}, "blond": {"hair_light": 1}},
}
# Factors that others determine, or that hardly show: no direction has to leave them alone.
DEPENDENT = {"cars": ("lightness", "distance", "front"), "horses": ("distance", "front"),
             "cats": ("head_turn", "lightness", "pupil"), "faces": ("distance", "redness", "contrast")}
# Classes that an edit is about; those of None are for all the edits without an entry.
CONCERNED = {"cars": {"trees": ("tree",), "buildings": ("building",), None: ("car", "window", "wheel")},
             "faces": {"hair_length": ("hair",), "blond": ("hair", "brows"), "glasses": ("glasses", "eyes", "brows", "skin"),
                       None: ("skin", "eyes", "brows", "mouth", "hair", "ears", "neck")},
             "cats": {"eye_size": ("eye",), "red_nose": ("nose", "mouth"), "ear_size": ("ear",),
                      None: ("body", "leg", "tail", "head", "ear", "eye", "nose", "mouth")},
             "horses": {"trees": ("tree",), "saddle": ("horse", "saddle"), "mane": ("mane", "horse"),
                        None: ("horse", "head", "mane", "saddle")}}


def change_asked(category, name, factors):
    """What an edit asks of each factor (K,), in standard deviations; NaN: it may do as it pleases."""
    wanted = EDITS[category].get(name, {name: 1})
    free = [float("nan") if factor in DEPENDENT[category] else 0.0 for factor in factors]
    return torch.tensor([float(wanted.get(factor, other)) for factor, other in zip(factors, free)])
