"""What can be set: one frozen, validated class a block of params.yaml or of a recipe. No torch here."""

from ddpipe.settings.base import FILE, UNSTATED, Augmentation, Layers, Settings, Siamese, needed
from ddpipe.settings.datasets import CHANNELS, HANDWRITTEN, OWN_KEYS, Dataset, Whitening
from ddpipe.settings.networks import AlexNet, ConvNet, DenseNet, LeNet, Network, ResNet
from ddpipe.settings.params import Evaluation, Params, Report, ReportSettings, Row, Run
from ddpipe.settings.parts import (
    Cell,
    Contrast,
    Distillation,
    DistributionMatching,
    ExpertStudents,
    FreshStudents,
    GradientMatching,
    Hallucinator,
    Part,
    Pixels,
    Selection,
    Sgd,
    Students,
    TrainedStudents,
    TrajectoryMatching,
    halved,
)
from ddpipe.settings.protocol import Protocol, Scale
from ddpipe.settings.protocols import AnyProtocol
from ddpipe.settings.protocols.replay import Replay
from ddpipe.settings.protocols.ridge import Ridge
from ddpipe.settings.protocols.trained import Trained
from ddpipe.settings.recipe import Recipe
from ddpipe.settings.training import Criterion, Experts, Flat, SetTraining, Training

__all__ = [
    "AlexNet",
    "AnyProtocol",
    "Augmentation",
    "CHANNELS",
    "Cell",
    "Contrast",
    "ConvNet",
    "Criterion",
    "Dataset",
    "DenseNet",
    "Distillation",
    "DistributionMatching",
    "Evaluation",
    "ExpertStudents",
    "Experts",
    "FILE",
    "Flat",
    "FreshStudents",
    "GradientMatching",
    "HANDWRITTEN",
    "Hallucinator",
    "Layers",
    "LeNet",
    "Network",
    "OWN_KEYS",
    "Params",
    "Part",
    "Pixels",
    "Protocol",
    "Recipe",
    "Replay",
    "Report",
    "ReportSettings",
    "ResNet",
    "Ridge",
    "Row",
    "Run",
    "Scale",
    "Selection",
    "SetTraining",
    "Settings",
    "Sgd",
    "Siamese",
    "Students",
    "Trained",
    "TrainedStudents",
    "Training",
    "TrajectoryMatching",
    "UNSTATED",
    "Whitening",
    "halved",
    "needed",
]
