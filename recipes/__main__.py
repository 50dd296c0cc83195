"""Train the shipped networks, and measure what is said of them: ``python -m recipes``."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skviz.errors import SkvizError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

__all__ = ["main"]


def train(arguments: argparse.Namespace) -> None:
    """Train a shipped network and write its weights and card."""
    from recipes import cards, plot_training, train_caltech
    from recipes.train import Training, log, train, world
    from recipes.train_objects import RECIPES
    from skviz.figures.saving import save_figure
    from skviz.models import zoo

    run = arguments.run / arguments.name
    recipe: Training
    describe: Callable[[nn.Module], str] | None
    if arguments.name in train_caltech.RECIPES:
        recipe = train_caltech.RECIPES[arguments.name]
        if arguments.photographs is not None:
            recipe = replace(recipe, root=str(arguments.photographs))
        describe = None
    else:
        recipe = RECIPES[arguments.name]
        describe = partial(cards.write_card, recipe=RECIPES[arguments.name])
    start = time.monotonic()
    model = train(
        recipe,
        run,
        where=arguments.device,
        bfloat16=not arguments.float32,
    )
    if world()[0]:  # one of several processes: the first does the rest
        return
    print(save_figure(plot_training.training(log(run)), run / "training.pdf"))
    print(f"trained {(time.monotonic() - start) / 60:.0f} min")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{recipe.name}.safetensors"
    zoo.save(model, cards.card_of(recipe), path)
    if describe is not None:  # what is measured is what was written
        path.with_suffix(".md").write_text(describe(zoo.load(path)))
    print(path)


def card(arguments: argparse.Namespace) -> None:
    """Measure a shipped network of drawn objects again and write its card."""
    from recipes import cards
    from recipes.train_objects import RECIPES
    from skviz.models import zoo

    path = arguments.out / f"{arguments.name}.md"
    path.write_text(cards.write_card(zoo.load(arguments.name), RECIPES[arguments.name]))
    print(path)


def look(arguments: argparse.Namespace) -> None:
    """Measure what moves the weights, keep it in docs/photographs.json, and write it."""
    from recipes import findings, photographs, photographs_said

    photographs.measure(arguments.photographs, arguments.nets, photographs.KEPT)
    words = photographs_said.section()
    readme = findings.README.read_text()
    findings.README.write_text(findings.placed(readme, "photographs", "photographs", words))
    card = photographs.KEPT.parents[1] / "data" / "models" / "caltech.md"
    card.write_text(photographs_said.card())
    picture = photographs.KEPT.with_name("what_moves_the_weights.png")
    photographs_said.figure().savefig(picture, dpi=150)
    print(photographs.KEPT, findings.README, card, picture, sep="\n")


def many(arguments: argparse.Namespace) -> None:
    """Measure the study that notebook 04 reads."""
    from recipes import population

    population.measure(arguments.photographs)


def find(_: argparse.Namespace) -> None:
    """Measure what README says, keep it in docs/findings.json, and write it."""
    from recipes import findings

    findings.KEPT.write_text(findings.as_json(findings.measure()))
    findings.README.write_text(findings.written(findings.README.read_text()))
    print(findings.KEPT, findings.README, sep="\n")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    from recipes import train_caltech

    top = argparse.ArgumentParser(prog="python -m recipes", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="command")

    def command(function: object, name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(function=function)
        made.add_argument("--device", default="auto", help="auto, cpu or cuda")
        return made

    made = command(train, "train", "train a shipped network, or go on with a stopped run")
    made.add_argument("name", choices=["objects", "objects-3", *train_caltech.RECIPES])
    made.add_argument("--photographs", type=Path, help="of caltech: the folder of Caltech-101")
    made.add_argument("--run", type=Path, default=Path("runs"), help="folder for checkpoints")
    made.add_argument("--out", type=Path, default=Path("data/models"), help="folder for the result")
    made.add_argument("--float32", action="store_true", help="do not compute in bfloat16")

    made = command(card, "card", "measure a shipped network again and write its card")
    made.add_argument("name", choices=["objects", "objects-3"])
    made.add_argument("--out", type=Path, default=Path("data/models"), help="folder for the result")

    made = command(look, "photographs", "measure what moves the weights of every training")
    made.add_argument("--photographs", type=Path, required=True, help="folder of Caltech-101")
    made.add_argument("--nets", type=Path, default=Path("runs/nets"), help="folder of the weights")

    made = command(many, "population", "measure the study that notebook 04 reads")
    made.add_argument("--photographs", type=Path, required=True, help="folder of Caltech-101")

    command(find, "findings", "measure what README says, and write it there")
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; a `SkvizError` is one line on standard error and exit status 1."""
    arguments = parser().parse_args(words)
    try:
        arguments.function(arguments)
    except SkvizError as error:
        print(f"recipes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
