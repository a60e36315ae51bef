"""The command `ddpipe`."""

from ddpipe.command import Commands

app = Commands(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Dataset distillation as a reproducible pipeline. The stages run through DVC (`dvc repro report@digits`); "
    "these commands look at the grid of cells without running it. Call them where params.yaml lies.",
)
