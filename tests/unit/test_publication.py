"""What is told of a result: the states of this repository's rows, and what an edit of each block makes of them."""

import copy
from typing import Any

import pytest

from ddpipe import config
from ddpipe.config import Config, ResultKey, results_of
from ddpipe.files.yaml import read_yaml
from ddpipe.mappings import merge
from ddpipe.pipeline.descriptions import Result
from ddpipe.publication import block, frozen
from ddpipe.publication.differences import Kind, augmentation, fewer, of_records
from ddpipe.publication.telling import UNSURE, Publication, Told
from ddpipe.report import published
from ddpipe.states import State
from tests.tracked import TRACKED
from tests.unit.survey_project import cells, filled, make, put

PUBLISHED, UNVERIFIED, REDUCED, OWN = State
DSA = "color_crop_cutout_flip_scale_rotate"
DESK = read_yaml(TRACKED / "params.yaml")


def edited(change: dict[str, Any]) -> Config:
    """The project with `change` put over params.yaml."""
    return config.load(TRACKED, merge(copy.deepcopy(DESK), change))


def key_of(project: Config, cell: str, network: str = "", protocol: str = "") -> ResultKey:
    row = project.row(cell)
    return ResultKey(cell, network or row.network, protocol or row.protocol)


def told(project: Config, cell: str, network: str = "", protocol: str = "") -> Told:
    return Publication(project).told(key_of(project, cell, network, protocol))


@pytest.fixture(scope="module")
def shipped() -> Publication:
    return Publication(config.load(TRACKED))


def test_params_ships_what_is_published(shipped: Publication):
    """Who changes a number there that published rows name changes published.yaml, or makes them own combinations."""
    project, known = shipped.config, frozen.frozen(TRACKED)
    stated = frozen.stated(project, known)
    for name in frozen.BLOCKS:
        then, now = getattr(known, name), getattr(project.params, name)
        assert list(then) == list(stated[name]), f"{name}: run `python -m ddpipe.publication.frozen`"
        for key, record in then.items():
            assert type(record) is type(now[key])
            assert list(of_records(now[key].model_copy(update={"exceptions": {}}), record)) == [], f"{name}.{key}"
    for name, protocol in known.protocols.items():
        for dataset in known.survey:
            ours = project.protocol(name, dataset)
            assert list(of_records(ours, config.excepted(protocol, name, dataset))) == [], (
                f"protocols.{name}, {dataset}"
            )
    assert {name: project.params.methods[name] for name in known.methods} == known.methods


def test_the_survey_s_datasets_are_those_of_its_tables():
    printed = published.read(TRACKED / "data/published")["dataset"]
    assert set(frozen.frozen(TRACKED).survey) == set(printed)


ROWS = [
    ("random-mnist-1", "", "", PUBLISHED, "random convnet", ""),
    ("random-fashionmnist-1", "", "", PUBLISHED, "random convnet", ""),
    ("ld-mnist-1", "", "", PUBLISHED, "ld convnet", ""),
    ("ld-mnist-50", "", "", PUBLISHED, "ld convnet", ""),
    ("dm-cifar10-10", "", "", PUBLISHED, "dm convnet", ""),
    ("dc-cifar10-1", "", "", PUBLISHED, "dc convnet", ""),
    ("idc-cifar10-50", "", "", PUBLISHED, "idc convnet", ""),
    ("dsa-cifar100-10", "", "", PUBLISHED, "dsa convnet", ""),  # with CIFAR-10's statistics
    ("mtt-cifar100-10", "", "", PUBLISHED, "mtt convnet", ""),
    ("rfad-mnist-10", "", "", PUBLISHED, "rfad convnet", ""),
    # numbers that nobody published
    ("dm-fashionmnist-1", "", "", UNVERIFIED, "dm convnet", "The authors do not name FashionMNIST; learning rate"),
    ("mtt-mnist-1", "", "", UNVERIFIED, "mtt convnet", "The published accuracy is DC-BENCH's own run with"),
    ("herding-mnist-1", "", "", UNVERIFIED, "herding convnet", "How the feature networks behind the published"),
    ("kcenter-mnist-1", "", "", UNVERIFIED, "kcenter convnet", "How the feature networks of DC's authors were"),
    ("whole-cifar10-all", "", "", UNVERIFIED, "whole convnet", "The survey does not say how its Whole row was"),
    ("kip-cifar100-1", "", "", UNVERIFIED, "kip convnet", "Learning rate, target batch and steps"),
    ("dc-cifar10-10", "", "", UNVERIFIED, "dc convnet", "When the value was published the students' momentum was 0.5"),
    ("dc-cifar100-1", "", "", UNVERIFIED, "dc convnet", "Until March 2022 the official code normalised CIFAR-100"),
    ("frepo-cifar100-1", "", "", UNVERIFIED, "frepo convnet", "Of the evaluation's augmentation how far crop shifts"),
    ("herding-imagenet64-1", "", "", UNVERIFIED, "herding convnet", "Nobody published this cell; feature networks"),
    ("random-imagenet64-1", "", "", UNVERIFIED, "random convnet", "The published values come from papers that augment"),
    ("random-imagenet64-1", "", "dc", REDUCED, "", "augmentation none of color_crop"),
    # of every cell of a recipe, behind what is said of the cell alone
    (
        "cafe-cifar10-10",
        "",
        "",
        UNVERIFIED,
        "cafe convnet",
        "The numbers are the released code's, written for CIFAR-10",
    ),
    ("dcc-svhn-1", "", "", UNVERIFIED, "dcc convnet", "Which augmentation produced the SVHN numbers is not published"),
    ("dcc-cifar10-1", "", "", UNVERIFIED, "dcc convnet", "That the published value is of the variant with DSA's"),
    # how others measured a table
    (
        "dm-cifar10-10",
        "resnet18_in",
        "dcbench",
        UNVERIFIED,
        "dm resnet18",
        "DC-BENCH measured it, with one augmentation",
    ),
    (
        "dm-cifar10-10",
        "densenet121_g12_bn",
        "idc",
        UNVERIFIED,
        "dm densenet121",
        "Lee et al. measured it; that they took",
    ),
    (
        "idc-cifar10-50",
        "densenet121_g12_bn",
        "idc",
        UNVERIFIED,
        "idc densenet121",
        "That these networks, which are those",
    ),
    (
        "cafe-plain-cifar10-50",
        "resnet18_in",
        "",
        UNVERIFIED,
        "cafe-plain resnet18",
        "The numbers are the released code's",
    ),
    # reduced ones
    ("rfad-labels-digits-1", "", "", REDUCED, "", "iterations 200 of 100,000"),  # a variant by its own cells
    ("dm-short-mnist-1", "", "", REDUCED, "dm convnet", "iterations 300 of 20,000, real batch 32 of 256, width 16 of"),
    ("dc-short-fashionmnist-1", "", "", REDUCED, "dc convnet", "real batch 32 of 256, width 16 of 128, iterations 300"),
    ("mtt-short-mnist-1", "", "", REDUCED, "mtt convnet", "experts' networks 3 of 100, iterations 200 of 5,000"),
    ("random-short-mnist-1", "", "", REDUCED, "random convnet", "width 16 of 128, epochs 300 of 1,000, protocol short"),
    ("random-short-fashionmnist-1", "", "", REDUCED, "random convnet", "width 16 of 128, protocol short in place of"),
    ("herding-short-fashionmnist-1", "", "", REDUCED, "herding convnet", "width 16 of 128, experts' epochs 3 of 20"),
    ("kcenter-short-fashionmnist-1", "", "", REDUCED, "kcenter convnet", "width 16 of 128, experts' epochs 3 of 20"),
    ("rtp-short-mnist-1-14x14", "", "", REDUCED, "", "iterations 200 of 10,000, objective.steps 15 of 150"),
    ("kip-short-mnist-1", "", "", REDUCED, "kip convnet", "real batch 50 of 500, iterations 200 of 1,000"),
    ("dm-short-mnist-1", "convnet3_w16", "rtp", REDUCED, "", "iterations 300 of 20,000"),  # not its own protocol
    # data that the survey does not have: in no table
    (
        "mtt-digits-1",
        "",
        "",
        REDUCED,
        "",
        "iterations 150 of 5,000, experts' networks 5 of 100, width 16 of 128, augment",
    ),
    (
        "dm-digits-10",
        "",
        "",
        REDUCED,
        "",
        "iterations 100 of 20,000, width 16 of 128, real batch 64 of 256, resolution 8",
    ),
    ("whole-digits-all", "", "", REDUCED, "", "width 16 of 128"),
    ("random-digits-1", "", "", REDUCED, "", "width 16 of 128, resolution 8 of 28, epochs 300 of 1,000, depth 2 of 3"),
    ("ls-digits-1", "", "", REDUCED, "", "resolution 8 of 32, network plain in place of convnet"),
    ("dm-short-cifar10-jpeg75-1", "", "", REDUCED, "", "iterations 300 of 20,000, real batch 32 of 256"),
    ("dm-brief-tinyimagenet10-1", "", "", REDUCED, "", "iterations 100 of 20,000"),
    # other parts
    ("dm-memory-digits-1", "", "", OWN, "", "synthetic memory in place of pixels"),
    ("dm-early-short-mnist-1", "", "", OWN, "", "students trained in place of fresh, iterations 300 of 20,000"),
    ("dc-early-short-mnist-1", "", "", OWN, "", "students.start added, real batch 32 of 256"),
    ("idc-mix-mnist-1", "", "", OWN, "", "iterations 0 of 200,000"),
    ("dd-undistilled-digits-1", "", "", OWN, "", "synthetic real in place of pixels"),
    ("ld-hard-mnist-1", "", "", OWN, "", "labels.learned false in place of true"),
    ("kfs-warm-digits-10", "", "", OWN, "", "objective reconstruction in place of distribution"),
    ("itgan-samples-digits-all", "", "", OWN, "", "iterations 0 of 20,000, no regulariser"),
    # a whole set under another protocol, or on a network of another kind
    (
        "random-mnist-1",
        "convnet3",
        "dsa",
        OWN,
        "",
        f"protocol dsa in place of dc, augmentation {DSA} in place of older:",
    ),
    ("ld-mnist-1", "convnet3", "dsa", OWN, "", "network convnet in place of lenet, protocol dsa in place of ld"),
    # published variants of a recipe, which the survey does not print
    ("idc-i-cifar10-1", "", "", PUBLISHED, "", ""),
    ("ld-ridge-mnist-1", "", "", UNVERIFIED, "", "What the authors reached is recalled only, about 64.6; the numbers"),
    ("haba-equal-cifar10-10", "", "", UNVERIFIED, "", "Nobody published this cell; the numbers of cifar10-10."),
    ("ld-ridge-digits-1", "", "", REDUCED, "", "iterations 1,500 of 19,600"),
]


@pytest.mark.parametrize(("cell", "network", "protocol", "state", "stands", "why"), ROWS)
def test_states_of_this_repository_s_rows(shipped: Publication, cell, network, protocol, state, stands, why):
    found = shipped.told(key_of(shipped.config, cell, network, protocol))
    assert found.state == state and found.why.startswith(why) and bool(found.reasons) == (state is not PUBLISHED)
    assert f"{found.method} {found.network}".strip() == stands


def test_a_table_is_doubted_where_it_prints_the_network(shipped: Publication):
    doubt = shipped.config.recipe("dc").unverified["table3"]
    own, further = (
        shipped.told(key_of(shipped.config, "dc-cifar10-10", *place)) for place in ((), ("resnet18_in", "dcbench"))
    )
    assert further.reasons == (*own.reasons, doubt)


def test_only_data_of_the_survey_are_as_published(shipped: Publication):
    for dataset in ("digits", "cifar10-jpeg75", "tinyimagenet10"):
        for key in results_of(shipped.config, dataset):
            assert shipped.told(key).state in (REDUCED, OWN), key


def test_a_few_reasons_and_how_many_more(shipped: Publication):
    found = shipped.told(key_of(shipped.config, "mtt-digits-1"))
    first, more = found.reasons[:5], len(found.reasons) - 5
    assert found.why == ", ".join([*first, f"and {more} more"])
    assert len(set(found.reasons)) == len(found.reasons) and f"augmentation none of {DSA}" in first
    short = shipped.told(key_of(shipped.config, "random-short-fashionmnist-1"))
    assert short.why == ", ".join(short.reasons) and len(short.reasons) == 4


MEMORY = {"name": "memory", "bases": 5, "downsampling": 1}
EDITS: list[tuple[str, dict[str, Any], State, str]] = [
    ("random-fashionmnist-1", {"protocols": {"dc": {"epochs": 200}}}, REDUCED, "epochs 200 of 300"),
    ("random-fashionmnist-1", {"protocols": {"dc": {"epochs": 400}}}, UNVERIFIED, "epochs 400 in place of 300"),
    ("random-fashionmnist-1", {"protocols": {"dc": {"lr": 0.02}}}, UNVERIFIED, "lr 0.02 in place of 0.01"),
    (
        "random-mnist-1",
        {"protocols": {"dc": {"exceptions": {"mnist": {"epochs": 300}}}}},
        REDUCED,
        "epochs 300 of 1,000",
    ),
    ("dm-mnist-1", {"protocols": {"dsa": {"augment": "none"}}}, REDUCED, f"augmentation none of {DSA}"),
    ("dm-mnist-1", {"protocols": {"dsa": {"augment": "color_crop"}}}, REDUCED, f"augmentation color_crop of {DSA}"),
    ("dm-cifar10-1", {"networks": {"convnet3": {"width": 64}}}, REDUCED, "width 64 of 128"),
    ("dm-cifar10-1", {"networks": {"convnet3": {"norm": "batch"}}}, UNVERIFIED, "norm batch in place of instance"),
    ("mtt-cifar10-50", {"experts": {"cifar10-trajectories": {"networks": 20}}}, REDUCED, "experts' networks 20 of 100"),
    (
        "mtt-cifar10-50",
        {"experts": {"cifar10-trajectories": {"lr": 0.1}}},
        UNVERIFIED,
        "experts' lr 0.1 in place of 0.01",
    ),
    ("dm-mnist-1", {"datasets": {"mnist": {"mean": [0.5]}}}, UNVERIFIED, "mean 0.5 in place of 0.1307"),
    ("dm-mnist-1", {"datasets": {"mnist": {"source": "fashionmnist"}}}, OWN, "source fashionmnist in place of mnist"),
    ("herding-mnist-1", {"experts": {"mnist": {"network": "convnet3_w16"}}}, REDUCED, "expert's width 16 of 128"),
    ("dm-mnist-1", {"datasets": {"mnist": {"resolution": 14}}}, REDUCED, "resolution 14 of 28"),
    ("dm-cifar10-1", {"datasets": {"cifar10": {"classes": ["cat", "dog"]}}}, REDUCED, "classes 2 of 10"),
    ("dm-cifar10-1", {"methods": {"dm": {"iterations": 300}}}, REDUCED, "iterations 300 of 20,000"),
    ("dm-cifar10-1", {"methods": {"dm": {"outer": {"images": {"lr": 5.0}}}}}, UNVERIFIED, "images.lr 5 in place of 1"),
    ("dm-cifar10-1", {"methods": {"dm": {"augment": "none"}}}, REDUCED, f"augmentation none of {DSA}"),
    ("dc-cifar10-1", {"methods": {"dc": {"augment": DSA}}}, OWN, f"augmentation {DSA} in place of none"),
    (
        "ld-mnist-1",
        {"methods": {"ld": {"labels": {"learned": False}, "outer": {"targets": None}}}},
        OWN,
        "labels.learned",
    ),
    (
        "dm-cifar10-1",
        {
            "methods": {
                "dm": {
                    "synthetic": MEMORY,
                    "outer": {
                        "images": None,
                        "bases": {"lr": 1.0, "momentum": 0.5},
                        "addresses": {"lr": 1.0, "momentum": 0.5},
                    },
                }
            }
        },
        OWN,
        "synthetic memory in place of pixels",
    ),
    ("random-mnist-1", {"methods": {"random": {"rule": "whole"}}}, OWN, "rule whole in place of random"),
    # what changes no number, or only how many are taken
    ("dm-cifar10-1", {"methods": {"dm": {"sets": 1}}}, PUBLISHED, ""),
    ("dm-cifar10-1", {"methods": {"dm": {"excess": True}}}, PUBLISHED, ""),
    ("dm-cifar10-1", {"methods": {"dm": {"objective": {"chunk": 64}}}}, PUBLISHED, ""),
    ("dm-cifar10-1", {"protocols": {"dsa": {"networks": 3, "sets": 1, "revision": 2}}}, PUBLISHED, ""),
    ("dm-cifar10-1", {"protocols": {"dsa": {"exceptions": {"mnist": {"epochs": 3}}}}}, PUBLISHED, ""),
    (
        "dm-cifar10-1",
        {"experts": {"cifar10": {"epochs": 1}}, "networks": {"lenet": {"initialisation": "default"}}},
        PUBLISHED,
        "",
    ),
]


@pytest.mark.parametrize(("cell", "change", "state", "why"), EDITS)
def test_an_edit_of_any_block_is_noticed(cell, change, state, why):
    found = told(edited(change), cell)
    assert (found.state, found.why[: len(why)]) == (state, why)
    assert len(found.reasons) == (state is not PUBLISHED) or state is OWN


def test_an_edited_protocol_changes_the_state_of_all_that_is_measured_under_it():
    publication = Publication(edited({"protocols": {"dc": {"epochs": 299, "exceptions": {"mnist": {"epochs": 999}}}}}))
    project = publication.config
    under = [
        key for dataset in frozen.frozen(TRACKED).survey for key in results_of(project, dataset) if key.protocol == "dc"
    ]
    assert len(under) > 60 and PUBLISHED not in {publication.told(key).state for key in under}


def test_another_ipc_takes_numbers_that_were_not_published_for_it():
    row = config.load(TRACKED).rows["dm-cifar10-10"].model_dump() | {"cell": "default", "ipc": 20}
    found = told(edited({"grid": {"dm-cifar10-20": row}}), "dm-cifar10-20")
    assert found.state == UNVERIFIED and found.reasons == (
        "nobody published numbers for cifar10 with IPC 20; these are of default",
        "the numbers are those of IPC 10",
    )


def test_own_images_are_never_as_published():
    """Even where everything else is."""
    row = config.load(TRACKED).rows["dm-cifar10-10"].model_dump() | {"cell": "default", "dataset": "cifar10-jpeg75"}
    row |= {"data": "cifar10-jpeg75", "needs": "data/prepared/cifar10-jpeg75"}
    found = told(edited({"grid": {"dm-cifar10-jpeg75-10": row}}), "dm-cifar10-jpeg75-10")
    assert (found.state, found.reasons) == (UNVERIFIED, ("nobody published anything for cifar10-jpeg75",))


def result(project: Config, cell: str, **said: Any) -> Result:
    row = project.row(cell)
    budget = {"floats": 7840, "images_per_class": 1.0}
    fixed = {"cell": cell, "network": row.network, "protocol": row.protocol, "method": row.method}
    fixed |= {"dataset": row.dataset, "ipc": row.ipc, "accuracies": ((50.0,),), "mean": 50.0, "std": 0.0, "n": 1}
    fixed |= {"sets": 1, "networks": 1, "budget": budget, "overrides": {}, "fingerprints": ["0" * 64]}
    return Result(**(fixed | said))


def test_a_result_is_judged_by_what_it_says_that_it_ran_with():
    now = config.load(TRACKED)
    key, ran = key_of(now, "random-mnist-1"), block.desk(now, key_of(now, "random-mnist-1")).told()
    then = edited({"protocols": {"dc": {"exceptions": {"mnist": {"epochs": 30}}}}})
    assert Publication(then).told(key, result(then, "random-mnist-1", ran=ran)).state == PUBLISHED
    assert Publication(then).told(key).why == "epochs 30 of 1,000"
    short = block.desk(then, key).told()
    assert Publication(now).told(key, result(now, "random-mnist-1", ran=short)).why == "epochs 30 of 1,000"


def test_an_early_result_is_as_published_while_its_protocol_says_the_same():
    now = config.load(TRACKED)
    key = key_of(now, "random-mnist-1")
    early = result(now, "random-mnist-1", protocol_digest=block.digest_of(block.desk(now, key).protocol))
    assert Publication(now).told(key, early).state == PUBLISHED
    then = edited({"protocols": {"dc": {"exceptions": {"mnist": {"lr": 0.02}}}}})
    found = Publication(then).told(key, early)
    assert found.state == UNVERIFIED and UNSURE in found.reasons


def test_an_early_result_ran_with_the_overrides_that_it_says():
    now = config.load(TRACKED)
    key = key_of(now, "dm-cifar10-1")
    early = result(now, "dm-cifar10-1", overrides={"iterations": 300})
    early = early.model_copy(update={"fingerprints": ()})
    assert Publication(now).told(key, early).why == "iterations 300 of 20,000"
    unknown = early.model_copy(update={"overrides": {"a_key_of_another_version": 1}})
    assert Publication(now).told(key, unknown) == Told(UNVERIFIED, (UNSURE,), "dm", "convnet")


def test_a_block_is_read_as_it_was_written(shipped: Publication):
    project = shipped.config
    for cell in project.rows:
        made = block.desk(project, key_of(project, cell))
        again = block.read(made.told())
        assert again is not None and again.model_copy(update={"data": made.data}) == made
        assert list(of_records(again.data, made.data)) == []
    assert block.read({"settings": {"kind": "of another version"}}) is None


@pytest.mark.parametrize(
    ("ran", "published", "less"),
    [
        (1, 2, True),
        (2, 2, False),
        (3, 2, False),
        (0, 2, False),  # not counted by this key
        ((1, 2), (1, 3), True),
        ((4, 2), (1, 3), True),
        ((1, 3), (1, 3, 3), True),
        (2, (1, 3), True),  # the same number for each
        ((8, 16), 8, False),
        (True, 2, False),
        (1, None, False),
        (0.1, 0.2, False),
        ("a", "b", False),
    ],
)
def test_fewer(ran, published, less):
    assert fewer(ran, published) is less


@pytest.mark.parametrize(
    ("ran", "published", "kind"),
    [
        ("none", "color_crop", Kind.LESS),
        ("crop", "color_crop", Kind.LESS),
        ("idc:crop", "idc:color_crop", Kind.LESS),
        ("crop_color", "color_crop", Kind.OTHER),
        ("idc:crop", "color_crop", Kind.PART),
        ("color_crop", "none", Kind.PART),
        ("color_crop", "crop", Kind.PART),
        ("color_flip", "color_crop", Kind.PART),
    ],
)
def test_augmentations(ran, published, kind):
    assert augmentation(ran, published) is kind


@pytest.mark.parametrize(
    ("cell", "network", "protocol", "name"),
    [
        ("dm-cifar10-1", "convnet3", "dsa", "convnet"),
        ("dm-cifar10-1", "convnet3_w16", "dsa", ""),  # another ConvNet than the cell's own
        ("dm-cifar10-1", "convnet3", "dc", ""),
        ("dm-cifar10-1", "plain18", "dcbench", "resnet18"),  # told by its settings, whatever its name
        ("dm-cifar10-1", "plain18", "dsa", "resnet18"),  # fewer epochs: reduced
        ("dm-cifar10-1", "plain18", "idc", ""),  # Table 4's protocol on a network of Table 3
        ("dm-cifar10-1", "resnet18_bn", "dcbench", ""),
        ("dm-cifar10-1", "resnet152_in", "dcbench", "resnet152"),
        ("dm-cifar10-1", "resnet10_w32_bn", "idc", "resnet10"),
        ("dm-cifar10-1", "resnet10_bn", "idc", ""),
        ("dm-cifar10-1", "densenet121_g12_bn", "idc", "densenet121"),
        ("dm-cifar10-1", "densenet121_g32_bn", "idc", ""),
        ("dsa-cifar10-1", "densenet121_g12_bn", "dsa", "densenet121"),  # no protocol for Table 4: the authors' own
        ("random-cifar10-1", "convnet3", "dc", "convnet"),
        ("random-cifar10-1", "convnet3", "dsa", ""),
        ("dm-short-cifar10-1", "convnet3", "dsa", "convnet"),
        ("dm-short-cifar10-1", "plain18", "dcbench", "resnet18"),
        ("dm-cifar10-jpeg75-1", "convnet3", "dsa", ""),
    ],
)
def test_which_evaluations_stand_in_the_tables(tmp_path, cell, network, protocol, name):
    found = told(config.load(make(tmp_path)), cell, network, protocol)
    assert (found.network, bool(found.method)) == (name, bool(name))


@pytest.mark.parametrize(
    ("cell", "protocol", "state"),
    [
        ("rfad-cifar10-10", "rfad-10", PUBLISHED),
        ("rfad-cifar10-10", "rfad-1", OWN),  # of another IPC
        ("rfad-cifar10-1", "rfad-1", PUBLISHED),
        ("rfad-cifar10-1", "rfad-ridge", OWN),
        ("frepo-cifar100-50", "frepo-40000", UNVERIFIED),
        ("frepo-cifar100-50", "frepo-1000", REDUCED),
        ("idc-svhn-1", "idc", PUBLISHED),
    ],
)
def test_authors_whose_protocol_is_not_the_same_for_all_cells(shipped: Publication, cell, protocol, state):
    found = shipped.told(key_of(shipped.config, cell, protocol=protocol))
    own = protocol == shipped.config.row(cell).protocol
    assert (found.state, found.network) == (state, "convnet" if own else "")


def test_a_variant_is_in_no_table(shipped: Publication):
    assert shipped.config.row("sldd-mnist-1-half").variant
    assert shipped.told(key_of(shipped.config, "sldd-mnist-1-half")).network == ""


def test_the_networks_of_this_project_are_the_survey_s(shipped: Publication):
    """The repository's own names and recipes give every network of Tables 3 and 4 a protocol under which it counts."""
    project = shipped.config
    networks = ("convnet3", "resnet18_in", "resnet152_in", "resnet10_w32_bn", "densenet121_g12_bn")
    for method in ("dm", "dsa"):
        keys = [key_of(project, f"{method}-cifar10-1", n, p) for n in networks for p in ("dsa", "dcbench", "idc", "ld")]
        found = {each.network for each in map(shipped.told, keys) if each.state in (PUBLISHED, UNVERIFIED)}
        assert found - {""} == {"convnet", "resnet18", "resnet152", "resnet10", "densenet121"}


def test_the_best_state_stands_in_the_table_then_what_is_most_like_the_published(tmp_path):
    root = make(tmp_path)

    def standing() -> tuple[str, State]:
        measured = cells(filled(root)["1"])["dm", "cifar10", "1", "convnet"].measured
        return measured.evaluation, measured.state

    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.0, overrides={"iterations": 7, "real_batch": 128})
    assert standing() == ("dm-cifar10-1.convnet3.dsa", REDUCED)
    put(root, "dm-short-cifar10-1", "convnet3", "dsa", 25.0, overrides={"iterations": 7}, base="dm")
    assert standing() == ("dm-short-cifar10-1.convnet3.dsa", REDUCED)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 24.0)
    assert standing() == ("dm-cifar10-1.convnet3.dsa", PUBLISHED)
