"""KIP's loss, its gradients, five steps of Adam and Label Solve, by the objectives that the pipeline runs."""

import pytest
import torch
from limits import CHUNK, chw, recursion_of

from ddpipe import kernels
from ddpipe.augmentation.siamese import Augment
from ddpipe.evaluation.critical import largest_rate
from ddpipe.objectives.ridge import make as ridge
from ddpipe.objectives.solve import make as solve
from ddpipe.randomness import Streams
from ddpipe.settings.labels import Labels
from ddpipe.settings.objectives.ridge import RidgeRegression
from ddpipe.settings.objectives.solve import LabelSolve
from ddpipe.students import Student
from ddpipe.students.infinite import Analytical
from ddpipe.synthetic.pixels import Pixels
from ddpipe.training.ridge import coefficients
from tests.contexts import context

every_variant = pytest.mark.variants_of("kip")


class Targets:
    """Real data whose every batch is the targets of the case, in its order."""

    def __init__(self, images, scores):
        self.images, self.labels = images, scores.argmax(1)
        self.class_index = [torch.arange(len(images))] + [torch.arange(0)] * (scores.shape[1] - 1)

    def sample_index(self, label, n, rng):
        return self.class_index[label]

    def batch(self, index):
        return self.images[index]


@pytest.fixture
def kip(case):
    return case("kip")


@pytest.fixture
def how(kip, variant):
    return kip.config["variants"][variant]


@pytest.fixture
def case_of(kip, how):
    """The students' kernel, the real side, and the set, its targets learned."""

    def of(key):
        return kip[how["prefix"] + key]

    recursion = recursion_of(how, kip.config)
    real = Targets(chw(of("xt")), of("yt"))
    torch.testing.assert_close(torch.nn.functional.one_hot(real.labels, 3).double() - 1 / 3, of("yt"))
    synthetic = Pixels(chw(of("xs")), torch.arange(6) // 2, kip.config["num_classes"])
    synthetic.label_(Labels(scale="centred", learned=True))
    with torch.no_grad():
        synthetic.targets.copy_(of("ys"))
    return of, Student(kernel=Analytical(recursion, CHUNK)), real, synthetic


def loss_of(make, record, case_of):
    _, student, real, synthetic = case_of
    objective = make(record, context(real, 2, real_batch=len(real.labels)))
    return next(objective.losses(synthetic, student, real, Augment("none"), Streams("golden")))


def config_of(of):
    return RidgeRegression(name="ridge", regularisation=float(of("reg")), criterion="mean-squared-error")


@every_variant
def test_kernels(kip, case_of):
    of, student, real, synthetic = case_of
    across, own = student.kernel.cross(real.images, synthetic.images), student.kernel.own(synthetic.images)
    across, own = across.detach(), own.detach()
    kip.check(across, of("kts"), "kts")
    kip.check(own, of("kss"), "kss")
    assert float((own - of("kss")).abs().max()) < 5e-9 * float(of("kss").max())
    found = across @ coefficients(own, of("ys"), float(of("reg")))
    kip.check(found, of("pred"), "pred")
    kip.check((found.argmax(1) == real.labels).double().mean(), of("acc"), "acc")


@every_variant
def test_loss_and_gradients(kip, case_of):
    of, _, _, synthetic = case_of
    loss = loss_of(ridge, config_of(of), case_of)
    kip.check(loss.value, of("loss"), "loss")
    images, targets = loss.gradients([synthetic.images, synthetic.targets])
    kip.check(images, chw(of("grad_xs")), "grad_xs")
    kip.check(targets, of("grad_ys"), "grad_ys")


@every_variant
def test_steps_of_adam(kip, variant, case_of):
    """The official code divides by 1 - beta^(t + 1) at step t = 1, 2, ..., which ordinary Adam does not."""
    rules = kip.config["adam"]
    if rules["variant"] != variant:
        return
    of, _, _, synthetic = case_of
    learned = [synthetic.images, synthetic.targets]
    first, second = [torch.zeros_like(x) for x in learned], [torch.zeros_like(x) for x in learned]
    losses = []
    for step in range(rules["first_step"], rules["first_step"] + rules["steps"]):
        loss = loss_of(ridge, config_of(of), case_of)
        losses.append(loss.value)
        gradients, power = loss.gradients(learned), step + rules["bias_correction_exponent_offset"]
        for x, slope, m, v in zip(learned, gradients, first, second, strict=True):
            m.lerp_(slope, 1 - rules["betas"][0])
            v.lerp_(slope.square(), 1 - rules["betas"][1])
            one, other = (mean / (1 - beta**power) for mean, beta in zip((m, v), rules["betas"], strict=True))
            with torch.no_grad():
                x -= rules["lr"] * one / (other.sqrt() + rules["eps"])
    kip.check(torch.stack(losses), of("adam5_losses"), "adam5")
    kip.check(synthetic.images.detach(), chw(of("adam5_xs")), "adam5")
    kip.check(synthetic.targets.detach(), of("adam5_ys"), "adam5")


@every_variant
def test_label_solve(kip, variant, case_of):
    if kip.config["label_solve"]["variant"] != variant:
        return
    of, _, _, synthetic = case_of
    loss = loss_of(solve, LabelSolve(name="solve", regularisation=float(of("reg"))), case_of)
    kip.check(loss.value, of("loss"), "loss")
    (step,) = loss.gradients([synthetic.targets])
    kip.check(synthetic.targets.detach() - step, of("label_solve"), "label_solve")
    (images,) = loss.gradients([synthetic.images])
    kip.check(images, chw(of("grad_xs")), "grad_xs")


@every_variant
def test_the_package_says_the_same(kip, how, case_of):
    of, student, _, synthetic = case_of
    one = kernels.own(student.kernel.recursion, synthetic.images, 10 * CHUNK)
    torch.testing.assert_close(one, student.kernel.own(synthetic.images), rtol=1e-12, atol=1e-12)


def test_the_largest_step_size(kip):
    """2 y / lambda_max of the kernel of y numbers: what the transfer to finite networks is trained at."""
    eigenvalue = float(torch.linalg.eigvalsh(kip[kip.config["maxlr_kernel_key"]])[-1])
    found = largest_rate(eigenvalue, kip.config["maxlr_y_dim"])
    kip.check(torch.tensor(found, dtype=torch.float64), kip["maxlr_value_y30"], "maxlr")
