"""The decision paths of the probe at one moment of training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.passes import in_halves
from lightning_explain.callbacks.base.distributed import Ranks, communicating
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.paths.path_options import PathOptions, Show
from lightning_explain.paths import (
    Ablation,
    Contributions,
    InputUnits,
    PathChange,
    PathGraph,
    ablation,
    effective_units,
    mean_graph,
)
from lightning_explain.probe import Probe

ALL = "all samples"

MOST_CLASSES = 10
"""Classes that are drawn and recorded as graphs: the first ones of the probe."""


@dataclass(frozen=True)
class Group:
    """Probe samples whose paths are averaged: those of one class.

    Attributes:
        name: Of the class.
        index: Class index; None where all samples make one group.
        members: Rows of the probe.
        has_output: True if the class has an output of its own, which is then explained.
    """

    name: str
    index: int | None
    members: tuple[int, ...]
    has_output: bool = True

    @property
    def output_name(self) -> str:
        """Name of the explained output."""
        return self.name if self.has_output else "output"


def groups_of(probe: Probe, target: Tensor | None) -> list[Group]:
    """Group the samples by explained output; by class where there is one output; all together for regression."""
    key = probe.labels if target is None else target
    if key is None:
        return [Group(ALL, None, tuple(range(len(probe))), has_output=False)]
    return [
        Group(probe.class_name(c), c, tuple((key == c).nonzero().flatten().tolist()), has_output=target is not None)
        for c in key.unique().tolist()
    ]


@dataclass(frozen=True)
class ClassPath:
    """The mean path of one class.

    Attributes:
        group: The class and its samples.
        graph: The mean over them.
        effective: For each layer, the number of units over which the mean flow is effectively spread.
        change: Since the explanation before; None for the first.
        ablation: What the class's score loses without the units drawn; None if it was not asked for, or no layer has
            as many other units as are drawn.
    """

    group: Group
    graph: PathGraph
    effective: dict[str, float]
    change: PathChange | None
    ablation: Ablation | None = None


@dataclass(frozen=True)
class PathExplanation:
    """The paths of the probe at one moment of training.

    Attributes:
        step: The step it is logged at.
        epoch: The epoch it was made in; None before training.
        classes: The mean path of each class.
        samples: Paths of single samples, by their row in the probe.
        scores: The model's scores for the probe [batch, classes] or [batch], on the CPU.
        units: The units of each input.
    """

    step: int
    epoch: int | None
    classes: tuple[ClassPath, ...]
    samples: dict[int, PathGraph]
    scores: Tensor
    units: tuple[InputUnits, ...]

    def drawn(self, found: ClassPath, show: Show) -> tuple[PathGraph, tuple[int, ...]]:
        """Return the graph that is drawn of a class, and the rows of the probe that it is of."""
        first = found.group.members[0]
        return (self.samples[first], (first,)) if show == "sample" else (found.graph, found.group.members)


@dataclass(frozen=True)
class _Found:
    """The results of one process: classes by their place, single samples, and the units of each input."""

    classes: dict[int, ClassPath]
    samples: dict[int, PathGraph]
    units: tuple[InputUnits, ...]


def explain_paths(
    pl_module: nn.Module,
    inputs: tuple[Tensor, ...],
    probe: Probe,
    *,
    question: Question,
    options: PathOptions,
    targets: Callable[[Tensor], Tensor | None],
    change: Callable[[int, PathGraph], PathChange | None],
    step: int,
    epoch: int | None,
    ranks: Ranks,
) -> PathExplanation:
    """Follow the decisions on the probe, leaving the module as found.

    In a distributed run every process must call it; each works out some of the classes.

    Args:
        pl_module: The module.
        inputs: The probe's inputs on the module's device.
        probe: The probe.
        question: How the model is called.
        options: The options of the monitor.
        targets: Returns the explained output of each sample, given the scores.
        change: Compares the graph of a class, given its place, with that of the explanation before.
        step: The step it is logged at.
        epoch: The epoch it is made in; None before training.
        ranks: The processes of the run.

    Cost: two forward and one backward pass, and for each sample about one gradient of the weights; all but the first
    forward pass divided by the number of processes, as far as there are classes.
    """

    def scored() -> tuple[nn.Module, Tensor]:
        with torch.no_grad():
            return question.module(pl_module, tuple(part.clone() for part in inputs))

    with undisturbed(pl_module):
        (module, scores), communicates = ranks.agreed(lambda: communicating(scored))
        scores = scores.detach().float().cpu()
        target = targets(scores)
        groups = dict(enumerate(groups_of(probe, target)))
        # a model whose weights are sharded over the processes must be called equally often by all
        own = groups if any(ranks.exchanged(communicates)) else dict(list(groups.items())[ranks.rank :: ranks.count])
        indices = None if target is None else target.to(inputs[0].device)
        found = ranks.agreed(
            lambda: _follow(module, inputs, indices, own, probe=probe, options=options, change=change, names=pl_module)
        )
    everything = [each for each in ranks.exchanged(found) if each is not None]
    classes = {place: path for each in everything for place, path in each.classes.items()}
    samples = {row: graph for each in everything for row, graph in each.samples.items()}
    in_order = tuple(classes[place] for place in sorted(classes))
    return PathExplanation(step, epoch, in_order, dict(sorted(samples.items())), scores, everything[0].units)


def _follow(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    groups: Mapping[int, Group],
    *,
    probe: Probe,
    options: PathOptions,
    change: Callable[[int, PathGraph], PathChange | None],
    names: nn.Module,
) -> _Found | None:
    """Compute the paths of some classes; None where there are none."""
    if not groups:
        return None
    found = _in_pieces(module, inputs, target, list(groups.values()), probe, options=options, names=names)
    units = next(iter(found.values()))[0].units
    classes: dict[int, ClassPath] = {}
    samples: dict[int, PathGraph] = {}
    for place, group in groups.items():
        # class by class: the graphs of a wide network's samples take megabytes each
        graphs = [found[row][0][found[row][1]] for row in group.members]
        wanted = len(graphs) if options.every_sample else int(options.show_of(probe) == "sample")
        for row, graph in list(zip(group.members, graphs, strict=True))[:wanted]:
            samples[row] = options.shown(graph, units, group.output_name)
        mean = mean_graph(graphs)
        shown = options.shown(mean, units, group.output_name)
        effective = {layer.name: effective_units(layer) for layer in mean.layers[:-1]}
        classes[place] = ClassPath(group, shown, effective, change(place, shown))
    if options.ablation:
        measured = _ablations(module, inputs, target, classes, names=names, keep_positions=options.keep_positions)
        classes = {place: replace(found, ablation=measured.get(place)) for place, found in classes.items()}
    return _Found(classes, samples, units)


def _ablations(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    classes: Mapping[int, ClassPath],
    *,
    names: nn.Module,
    keep_positions: bool,
) -> dict[int, Ablation]:
    """Measure the loss of each class's score without the units drawn, with means over the whole probe.

    Classes of which no layer has as many other units as are drawn are left out.
    """
    drawn: list[dict[str, list[int]]] = []
    groups = torch.full((len(inputs[0]),), -1)
    for number, found in enumerate(classes.values()):
        groups[list(found.group.members)] = number
        own: dict[str, list[int]] = {}
        for node in found.graph.nodes:
            if node.unit is not None:
                own.setdefault(node.layer, []).append(node.unit)
        drawn.append(own)
    copies = tuple(part.clone() for part in inputs)
    measured = ablation(module, copies, target, drawn, groups, keep_positions=keep_positions, names_from=names)
    return {place: found for place, found in zip(classes, measured, strict=True) if found.n_units}


def _in_pieces(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    groups: Sequence[Group],
    probe: Probe,
    *,
    options: PathOptions,
    names: nn.Module,
) -> dict[int, tuple[Contributions, int]]:
    """Run the samples in one pass, or in halves where memory runs out; return the pass and place of each."""
    rows = [row for group in groups for row in group.members]
    numbers = torch.tensor([number for number, group in enumerate(groups) for _ in group.members])

    def run(some: slice) -> Contributions:
        few = tuple(part[rows[some]].clone() for part in inputs)
        indices = None if target is None else target[rows[some]]
        return options.contributions(module, few, indices, probe, names, groups=numbers[some])

    pieces = in_halves(len(rows), run)
    places = [(piece, place) for piece in pieces for place in range(len(piece))]
    return dict(zip(rows, places, strict=True))
