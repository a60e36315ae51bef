"""What can be set: one frozen, validated class a block of params.yaml or of a recipe. No torch here."""

from ddpipe.settings.base import FILE, UNSTATED, Augmentation, Layers, Settings, Siamese, needed
from ddpipe.settings.datasets import CHANNELS, HANDWRITTEN, OWN_KEYS, Dataset, Whitening
from ddpipe.settings.method import Cell, Distillation, Selection
from ddpipe.settings.networks import AlexNet, ConvNet, DenseNet, LeNet, Network, ResNet
from ddpipe.settings.optimizers import Clip, Cosine, Drop, Optimizer, Schedule, Steps
from ddpipe.settings.params import Evaluation, Params, Report, ReportSettings, Row, Run
from ddpipe.settings.recipe import Recipe
from ddpipe.settings.training import Experts, Flat, Protocol, Training

__all__ = [
    "AlexNet",
    "Augmentation",
    "CHANNELS",
    "Cell",
    "Clip",
    "ConvNet",
    "Cosine",
    "Dataset",
    "DenseNet",
    "Distillation",
    "Drop",
    "Evaluation",
    "Experts",
    "FILE",
    "Flat",
    "HANDWRITTEN",
    "Layers",
    "LeNet",
    "Network",
    "OWN_KEYS",
    "Optimizer",
    "Params",
    "Protocol",
    "Recipe",
    "Report",
    "ReportSettings",
    "ResNet",
    "Row",
    "Run",
    "Schedule",
    "Selection",
    "Settings",
    "Siamese",
    "Steps",
    "Training",
    "UNSTATED",
    "Whitening",
    "needed",
]
