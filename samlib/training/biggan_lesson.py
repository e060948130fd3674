"""What BigGAN learns before it draws: the meaning of the numbers that its z are.

BigGAN has no mapping network as StyleGAN2 has; its first blocks, up to 8 px, have to turn numbers into places, angles and
colours. They are so small that thousands of steps take seconds.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..precision import double
from .paired import fill
from .steps import FlatAdam, autocast, graphed


def teach(training, data) -> tuple[float, float]:
    """Trains the blocks up to 8 px so that a linear layer for each class reads off their features what the codes of `data` mean; the
    last loss and that on what is held out, in shares of the variance."""
    s, network, device = training.settings, training.generator, training.device
    z, labels, meaning = data.z, data.labels, data.meaning
    classes, count = F.one_hot(labels, len(training.data.names)).float(), len(training.data.names)
    meaning = standardized(meaning.float(), classes)
    read = nn.Linear(16 * s.channels()[8], count * meaning.shape[1]).to(device)
    nn.init.zeros_(read.weight), nn.init.zeros_(read.bias)  # the same in every process
    blocks = [p for name, p in network.named_parameters() if not name.startswith(("generator.conv_to_rgb", "generator.bn."))]
    adam = FlatAdam([*blocks, *read.parameters()], s.warm_lr, beta=0.9)
    index = torch.zeros(min(s.lesson_batch, len(z)), dtype=torch.long, device=device)

    def error(index):
        code = network.mapping(fill(z[index]), classes=classes[index])
        with autocast(training.device):
            x = F.avg_pool2d(network.generator(code, 1.0, stop=8), 2).flatten(1)
            found = read(x).unflatten(1, (count, -1)).float()
        return F.mse_loss((found * classes[index][..., None]).sum(1), meaning[index])

    def step():
        loss = error(index)
        loss.backward()
        return loss.detach()

    run, loss = graphed(step, device), torch.zeros([])
    adam.flat.zero_()
    for i in range(s.lesson):
        adam.rate(min(1.0, (i + 1) / 100) * (1 - 0.95 * i / s.lesson))
        torch.randint(len(z) - data.held, index.shape, out=index)
        loss = run()
        adam.step()
    for p in network.parameters():
        p.grad = None
    training.ema.load_state_dict(network.state_dict())
    with torch.no_grad():
        network.eval()  # by the running statistics
        held = error(torch.arange(len(z) - data.held, len(z), device=device)) if data.held else loss
        network.train()
    return float(loss), float(held)


def standardized(meaning: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """meaning (M, J) in units of its deviation within each class; 0 where it does not vary there."""
    meaning, classes = double(meaning), double(classes)  # else what never varies would vary by rounding
    share = classes / classes.sum(0).clamp(min=1)
    mean = share.t() @ meaning
    centred = meaning - classes @ mean
    spread = (share.t() @ centred.square()).sqrt()
    return torch.where(classes @ spread > 1e-6, centred / (classes @ spread).clamp(min=1e-6), torch.zeros_like(centred)).float()
