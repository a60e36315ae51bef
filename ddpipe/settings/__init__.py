"""What can be set: one frozen, validated class a block of params.yaml or of a recipe. No torch here."""

from ddpipe.settings.base import Settings
from ddpipe.settings.cell import Cell
from ddpipe.settings.datasets import Dataset, Own, Whitening
from ddpipe.settings.distillation import Distillation, Warm
from ddpipe.settings.generators import Generators, Inversion, Sizes
from ddpipe.settings.networks import AlexNet, ConvNet, DenseNet, Learner, LeNet, Network, Plain, ResNet
from ddpipe.settings.optimizers import Clip, Cosine, Drop, Optimizer, Schedule, Steps
from ddpipe.settings.params import Course, Evaluation, Params, Row, Run
from ddpipe.settings.protocol import Protocol, Scale
from ddpipe.settings.protocols import AnyProtocol
from ddpipe.settings.protocols.centred import Centred
from ddpipe.settings.protocols.critical import Critical
from ddpipe.settings.protocols.kernel import Kernel
from ddpipe.settings.protocols.regressed import Regressed
from ddpipe.settings.protocols.replay import Replay
from ddpipe.settings.protocols.ridge import Ridge
from ddpipe.settings.protocols.trained import Trained
from ddpipe.settings.recipe import Recipe
from ddpipe.settings.selection import Selection
from ddpipe.settings.stop import Stop
from ddpipe.settings.training import Criterion, Experts, Flat, SetTraining, Training

__all__ = [
    "AlexNet",
    "AnyProtocol",
    "Cell",
    "Centred",
    "Clip",
    "ConvNet",
    "Cosine",
    "Course",
    "Criterion",
    "Critical",
    "Dataset",
    "DenseNet",
    "Distillation",
    "Drop",
    "Evaluation",
    "Experts",
    "Flat",
    "Generators",
    "Inversion",
    "Kernel",
    "LeNet",
    "Learner",
    "Network",
    "Optimizer",
    "Own",
    "Params",
    "Plain",
    "Protocol",
    "Recipe",
    "Regressed",
    "Replay",
    "ResNet",
    "Ridge",
    "Row",
    "Run",
    "Schedule",
    "Scale",
    "Selection",
    "SetTraining",
    "Settings",
    "Sizes",
    "Steps",
    "Stop",
    "Trained",
    "Training",
    "Warm",
    "Whitening",
]
