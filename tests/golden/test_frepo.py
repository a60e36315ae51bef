"""FRePo's network, losses, gradients and steps against its official code in JAX."""

import pytest
import torch
from torch import Tensor, nn

from ddpipe import networks
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.ridge import RidgeRegression, doubled, label_loss, predictions
from ddpipe.randomness import Streams
from ddpipe.settings import ConvNet, Optimizer
from ddpipe.settings.labels import Labels
from ddpipe.settings.objectives.ridge import RidgeRegression as Record
from ddpipe.settings.students.pool import PoolStudents
from ddpipe.students import Student
from ddpipe.students.kernel import Features
from ddpipe.students.pool import Member
from ddpipe.synthetic import Batch
from ddpipe.synthetic.pixels import Pixels

every_variant = pytest.mark.parametrize("variant", ["bn", "id", "gray"])
every_way = pytest.mark.parametrize("flipped", [False, True])


class Real:
    """The case's real images, all of them a batch."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels, self.class_index = images, labels, [torch.arange(len(labels))]

    def batch(self, rows: Tensor) -> Tensor:
        return self.images[rows]


def pixels(nhwc: Tensor) -> Tensor:
    return nhwc.double().permute(0, 3, 1, 2).contiguous()


class Given:
    """One case: its network, its set and its real images."""

    def __init__(self, golden, variant: str):
        self.golden, self.prefix, self.spec = golden, f"{variant}_", golden.config["variants"][variant]
        spec, config = self.spec, golden.config
        side, _, channels = spec["image_shape_hwc"]
        self.classes = config["num_classes"]
        architecture = ConvNet(
            kind="convnet",
            depth=spec["depth"],
            width=tuple(spec["widths"]),
            norm={"batch": "flax", "none": "none"}[spec["norm"]],
            first_padding=spec["first_conv_padding"],
            initialisation="lecun",
        )
        self.network = networks.build(architecture, channels, side, self.classes).double()
        self.last = round((self.network.classifier.in_features / spec["widths"][-1]) ** 0.5)  # side of the last map
        with torch.no_grad():
            for name, value in self.tensors().items():
                value.copy_(self.put(name, self[name]))
        labels = torch.arange(self.classes).repeat_interleave(config["ipc"])
        self.synthetic = Pixels(pixels(self["x_proto"]), labels, self.classes)
        self.synthetic.label_(Labels(scale="centred", learned=True))
        with torch.no_grad():
            self.synthetic.targets.copy_(self["y_proto"])
        self.real = Real(pixels(self["x_target"]), self["y_target"].argmax(1))
        torch.testing.assert_close(
            self["y_target"], nn.functional.one_hot(self.real.labels, self.classes).double() - 1 / self.classes
        )

    def __getitem__(self, key: str) -> Tensor:
        return self.golden[self.prefix + key]

    def tensors(self) -> dict[str, Tensor]:
        """The network's by flax's names."""
        found = {}
        layers = list(self.network.features)
        for number, layer in enumerate([own for own in layers if isinstance(own, nn.Conv2d)]):
            found |= {f"param_Conv_{number}_kernel": layer.weight, f"param_Conv_{number}_bias": layer.bias}
        for number, layer in enumerate([own for own in layers if isinstance(own, nn.BatchNorm2d)]):
            found |= {f"param_BatchNorm_{number}_scale": layer.weight, f"param_BatchNorm_{number}_bias": layer.bias}
            found |= {f"stat_BatchNorm_{number}_mean": layer.running_mean}
            found |= {f"stat_BatchNorm_{number}_var": layer.running_var}
        head = self.network.classifier
        return found | {"param_Dense_0_kernel": head.weight, "param_Dense_0_bias": head.bias}

    def put(self, name: str, value: Tensor) -> Tensor:
        """A tensor of flax's as torch has it: convolutions are HWIO there, features flattened as HWC."""
        if name.endswith("_kernel"):
            if value.dim() == 4:
                return value.permute(3, 2, 0, 1)
            return value.view(self.last, self.last, -1, value.shape[1]).permute(3, 2, 0, 1).flatten(1)
        return value

    def features(self, found: Tensor) -> Tensor:
        """Features (n, F) in flax's order."""
        return found.view(len(found), -1, self.last, self.last).permute(0, 2, 3, 1).flatten(1)

    def objective(self, flipped: bool) -> RidgeRegression:
        config = Record(
            name="ridge",
            regularisation=self.golden.config["reg"],
            criterion="squared-error",
            batch=len(self.real.labels),
            passes=False,
            flipped=flipped,
            margin=True,
        )
        return RidgeRegression(config, self.real, 0, flip=True)

    def kernel(self) -> Features:
        return Features(self.network.eval().embed, chunk=1024)

    def loss(self, flipped: bool):
        objective = self.objective(flipped)
        student = Student(kernel=self.kernel())
        (loss,) = objective.losses(self.synthetic, student, self.real, Augment("none"), Streams("case"))
        return loss

    def check(self, actual: Tensor, key: str) -> None:
        self.golden.check(actual.detach(), self[key], key)


@every_variant
def test_features_and_outputs(case, variant):
    given = Given(case("frepo"), variant)
    kernel = given.kernel()
    given.check(given.features(kernel.embed(given.synthetic.images)), "feat_proto")
    given.check(given.features(kernel.embed(given.real.images)), "feat_target")
    given.check(given.network.train()(given.synthetic.images), "train_logits")


@every_variant
@every_way
def test_losses_and_gradients(case, variant, flipped):
    given, way = Given(case("frepo"), variant), "flip" if flipped else "noflip"
    shown = Batch(*given.synthetic.decode())
    shown = doubled(shown) if flipped else shown
    given.check(predictions(given.kernel(), given.real.images, shown, given.golden.config["reg"]), f"{way}_pred")
    found, least = given.loss(flipped), 1 / given.classes
    given.check(label_loss(given.synthetic.targets), f"{way}_label_loss")
    given.check(found.value - least, f"{way}_total_loss")
    given.check(found.value - least - label_loss(given.synthetic.targets), f"{way}_kernel_loss")
    by_x, by_y = found.gradients([given.synthetic.images, given.synthetic.targets])
    given.check(by_x.permute(0, 2, 3, 1), f"{way}_grad_x")
    given.check(by_y, f"{way}_grad_y")


@every_variant
@every_way
def test_steps_of_lamb(case, variant, flipped):
    given, way = Given(case("frepo"), variant), "flip" if flipped else "noflip"
    lamb = given.golden.config["lamb"]
    rules = Optimizer(
        optimizer="lamb",
        lr=lamb["lr"],
        betas=lamb["betas"],
        eps=lamb["eps"],
        weight_decay=lamb["weight_decay"],
        schedule={"name": "cosine", "last": lamb["cosine_floor"]},
    )
    groups = given.synthetic.groups() | given.synthetic.learned_targets()
    outer, losses = Outer(groups, dict.fromkeys(groups, rules)), []
    for number in range(lamb["steps"]):
        outer.begin(number, lamb["decay_steps"])
        loss = given.loss(flipped)
        losses.append(loss.value - 1 / given.classes)
        outer.step(loss)
        if number == 0:
            given.check(given.synthetic.targets, f"{way}_lamb1_y")
            if not flipped:
                given.check(given.synthetic.images.permute(0, 2, 3, 1), f"{way}_lamb1_x")
    given.check(torch.stack(losses), f"{way}_lamb3_losses")
    given.check(given.synthetic.targets, f"{way}_lamb3_y")


@every_variant
def test_steps_of_a_network_of_the_pool(case, variant):
    given, losses = Given(case("frepo"), variant), []
    online = given.golden.config["online"]
    rules = PoolStudents(
        name="pool", optimizer=online["optimizer"], lr=online["lr"], betas=online["betas"], eps=online["eps"]
    )
    member, batch = Member(rules, given.network, 0), Batch(*(part.detach() for part in given.synthetic.decode()))
    for number in range(online["steps"]):
        before = given.network.state_dict()
        kept = {name: value.clone() for name, value in before.items()}
        outputs = given.network.train()(batch.images)
        losses.append((outputs - batch.targets).square().sum(1).mean() / 2)
        given.network.load_state_dict(kept)
        member.learn(batch)
        if number == 0:
            for name in given.spec["online1_params"]:
                expected = given.put(name, given[f"online1_{name}"])
                given.golden.check(given.tensors()[name].detach(), expected, name)
    given.check(torch.stack(losses), "online_losses")
    given.check(given.features(given.kernel().embed(given.real.images)), "online2_feat_target")
    assert member.steps == online["steps"]
