"""Training and testing one network as one would write it without the pipeline.

A DataLoader over a TensorDataset, every image augmented by itself when it is fetched, torch's optimiser. What is not
the loop's work is shared: the network's layers and its initialisation, and the augmentations, which for a single image
take their shortest way.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment


class Augmented(Dataset):
    """Each image of `base` under an operation of its own."""

    def __init__(self, base: Dataset, strategy: str, flip: bool, rng: torch.Generator):
        self.base, self.augment, self.rng = base, Augment(strategy, flip), rng

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.base[index]
        draw = self.augment.draw(self.rng, 1, *image.shape[1:])
        return self.augment(image[None], draw)[0], label


def evaluate(
    network: nn.Module,
    rules: settings.Trained,
    training: TensorDataset,
    test: TensorDataset,
    flip: bool,
    rng: torch.Generator,
    device: str | torch.device = "cpu",
) -> float:
    """Train `network`, its weights new, on images and labels (N,) of the CPU; percent right on the test images.

    The protocol must drop its rate in DC's manner.
    """
    augmented = Augmented(training, rules.augment, flip, rng)
    loader = DataLoader(augmented, rules.batch, shuffle=True, generator=rng)
    numbers = {"lr": rules.lr, "momentum": rules.momentum, "weight_decay": rules.weight_decay}
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), **numbers)
    for number in range(rules.epochs + rules.extra_epoch):
        for images, labels in loader:
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if number == rules.epochs // 2 + 1:
            optimizer = torch.optim.SGD(network.parameters(), **numbers | {"lr": 0.1 * rules.lr})

    network.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, 256):
            right += int((network(images.to(device)).argmax(1) == labels.to(device)).sum())
    return 100 * right / len(test)
