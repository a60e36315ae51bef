"""The command `ddpipe`: what exists, where its numbers come from, whether it can run, what would run.

Each command imports what it needs when it is called: looking things up must not wait for torch.
"""

import sys

import typer

from ddpipe.command import guarded

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Dataset distillation as a reproducible pipeline. The stages run through DVC (`dvc repro report@digits`); "
    "these commands look at the grid of cells without running it. Call them where params.yaml lies.",
)


@app.command()
def methods() -> None:
    """List the methods: their parts, the authors' evaluation protocol, rows in the grid, changes in params.yaml."""
    from ddpipe import config, explain

    print(explain.methods(config.load()))


@app.command()
def check() -> None:
    """Find every mistake in params.yaml, the recipes and the rows, without running anything.

    Prints one sentence a mistake and exits with code 2. Where data/prepared exists, images per class and network depth
    are held against the data too.
    """
    from ddpipe import config
    from ddpipe.check import problems

    project = config.load()
    found = problems(project)
    for sentence in found:
        print(f"error: {sentence}", file=sys.stderr)
    if found:
        raise SystemExit(2)
    counts = (len(project.rows), len(project.evaluations), len(project.recipes))
    print("checked {} rows, {} further evaluations, {} recipes: no mistake".format(*counts))


def main() -> None:
    guarded(app)


if __name__ == "__main__":
    main()
