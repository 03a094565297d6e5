"""The decision paths of the probe at one moment, and what is remembered of the moment before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.passes import in_halves
from lightning_explain.attribution.lrp.composites import Composite, LayerRules
from lightning_explain.callbacks.base.compatibility import Asked, in_words
from lightning_explain.callbacks.base.distributed import Ranks, communicating
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.errors import ExplanationError
from lightning_explain.paths import (
    ContributionGraph,
    Contributions,
    InputUnits,
    PathChange,
    PathGraph,
    contributions,
    effective_units,
    mean_graph,
    path_change,
    path_graph,
)
from lightning_explain.probe import Probe
from lightning_explain.render.paths import sticky_slots

ALL = "all samples"

MOST_CLASSES = 10
"""Classes that are drawn and recorded as graphs: the first ones of the probe."""

Show = Literal["class", "sample"]


@dataclass(frozen=True, kw_only=True)
class PathOptions:
    """What of the paths is worked out.

    Attributes:
        rules: As in `contributions`, like `layers`, `patch` and `keep_positions`.
        show: Whether pictures show the mean over a class's samples, or its first sample.
        every_sample: Whether the graph of every single sample is kept.
        n_units: As in `path_graph`, like `n_paths`.
    """

    rules: Composite | LayerRules | None
    layers: str | list[str] | None
    patch: int | None
    keep_positions: bool
    show: Show
    every_sample: bool
    n_units: int
    n_paths: int

    @property
    def asked(self) -> Asked:
        """What decides which edges there are, in words."""
        own = {"layers": self.layers, "patch": self.patch, "keep_positions": self.keep_positions}
        return {"rules": self.rules_name, **{key: in_words(option) for key, option in own.items()}}

    @property
    def rules_name(self) -> str:
        """Name the rules in titles and records."""
        if self.rules is None:
            return "LRP-epsilon"
        return "LRP by own rules" if isinstance(self.rules, Mapping) else f"LRP {type(self.rules).__name__}"

    def contributions(
        self, model: nn.Module, inputs: tuple[Tensor, ...], target: Tensor | None, probe: Probe, names_from: nn.Module
    ) -> Contributions:
        """Run the model and get ready to work out graphs."""
        return contributions(
            model,
            inputs if isinstance(probe.inputs, tuple) else inputs[0],
            target,
            rules=self.rules,
            layers=self.layers,
            feature_names=probe.feature_names,
            patch=self.patch,
            keep_positions=self.keep_positions,
            names_from=names_from,
        )

    def shown(self, graph: ContributionGraph, units: tuple[InputUnits, ...], output_name: str) -> PathGraph:
        """Choose what is shown of a graph."""
        return path_graph(
            graph,
            input_names=[unit.names for unit in units],
            output_name=output_name,
            n_units=self.n_units,
            n_paths=self.n_paths,
        )


@dataclass(frozen=True)
class Group:
    """Probe samples whose paths are averaged: those of one class.

    Attributes:
        name: Of the class.
        index: Class index; None where all samples make one group.
        members: Rows of the probe.
        has_output: Whether the class has an output of its own, which is what is explained.
    """

    name: str
    index: int | None
    members: tuple[int, ...]
    has_output: bool = True

    @property
    def output_name(self) -> str:
        """What the explained output is called."""
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
        effective: For each layer, over how many units the mean flow is really spread.
        change: Since the explanation before; None for the first.
    """

    group: Group
    graph: PathGraph
    effective: dict[str, float]
    change: PathChange | None


@dataclass(frozen=True)
class PathExplanation:
    """The paths of the probe at one moment of training.

    Attributes:
        step: The step it is logged at.
        epoch: The epoch it was made in; None before training.
        classes: The mean path of each class.
        samples: Paths of single samples, by their row in the probe.
        scores: The model's scores for the probe [batch, classes] or [batch], on the CPU.
        units: How the inputs fall into units.
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


@dataclass
class PathHistory:
    """What a monitor remembers of earlier explanations; survives resume through `state_dict`.

    Attributes:
        count: Explanations so far.
        target: The explained output of each sample, fixed for the whole run.
        edges: Edges of each class in the explanation before, by the class's place.
        slots: Where the units of each class stand in the pictures.
        caveat: A sentence that must be known to read the curve, e.g. why it begins anew; empty if there is none.
        probe: Fingerprint of the probe; empty before the first explanation.
    """

    count: int = 0
    target: Tensor | None = None
    edges: dict[int, list[tuple[str, str]]] = field(default_factory=dict[int, list[tuple[str, str]]])
    slots: dict[int, dict[str, list[int | None]]] = field(default_factory=dict[int, dict[str, list[int | None]]])
    caveat: str = ""
    probe: str = ""

    def check(self, n_samples: int) -> None:
        """Refuse a history that is no history of so many samples.

        Raises:
            ExplanationError: It explained another number of samples.
        """
        if self.target is not None and len(self.target) != n_samples:
            raise ExplanationError(f"it remembers paths of {len(self.target)} samples, its probe has {n_samples}.")

    def change(self, place: int, graph: PathGraph) -> PathChange | None:
        """Compare a class's edges with those of the explanation before."""
        return path_change(graph.single_edges, self.edges[place]) if place in self.edges else None

    def add(self, explanation: PathExplanation, *, show: Show) -> None:
        """Remember an explanation, and where its units stand in pictures: where they stood before."""
        self.count += 1
        for place, found in enumerate(explanation.classes):
            self.edges[place] = sorted(found.graph.single_edges)
        for place, found in enumerate(explanation.classes[:MOST_CLASSES]):
            graph, _ = explanation.drawn(found, show)
            self.slots[place] = sticky_slots(graph, self.slots.get(place, {}))

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, strings and lists, which `torch.load(weights_only=True)` accepts."""
        return {
            "count": self.count,
            "target": self.target,
            "edges": {place: [list(edge) for edge in edges] for place, edges in self.edges.items()},
            "slots": {place: {layer: list(units) for layer, units in s.items()} for place, s in self.slots.items()},
            "caveat": self.caveat,
            "probe": self.probe,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "PathHistory":
        """Rebuild what `state_dict` returned."""
        return cls(
            count=state["count"],
            target=state["target"],
            edges={place: [(a, b) for a, b in edges] for place, edges in state["edges"].items()},
            slots={place: {layer: list(units) for layer, units in s.items()} for place, s in state["slots"].items()},
            caveat=state.get("caveat", ""),
            probe=state.get("probe", ""),
        )


@dataclass(frozen=True)
class _Found:
    """What one process worked out: classes by their place, single samples, and how the inputs fall into units."""

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
    history: PathHistory,
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
        question: How the explained function is reached.
        options: What is worked out.
        targets: Says, given the scores, which output is explained for each sample.
        history: With what is compared; it is only read.
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
        # a model whose weights are spread over the processes must be called equally often by all
        own = groups if any(ranks.exchanged(communicates)) else dict(list(groups.items())[ranks.rank :: ranks.count])
        indices = None if target is None else target.to(inputs[0].device)
        found = ranks.agreed(
            lambda: _follow(
                module, inputs, indices, own, probe=probe, options=options, history=history, names=pl_module
            )
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
    history: PathHistory,
    names: nn.Module,
) -> _Found | None:
    """Work out the paths of some classes; None where there are none."""
    rows = [row for group in groups.values() for row in group.members]
    if not rows:
        return None
    found = _in_pieces(module, inputs, target, rows, probe, options=options, names=names)
    units = found[rows[0]][0].units
    classes: dict[int, ClassPath] = {}
    samples: dict[int, PathGraph] = {}
    for place, group in groups.items():
        # class by class: the graphs of a wide network's samples take megabytes each
        graphs = [found[row][0][found[row][1]] for row in group.members]
        wanted = len(graphs) if options.every_sample else int(options.show == "sample")
        for row, graph in list(zip(group.members, graphs, strict=True))[:wanted]:
            samples[row] = options.shown(graph, units, group.output_name)
        mean = mean_graph(graphs)
        shown = options.shown(mean, units, group.output_name)
        effective = {layer.name: effective_units(layer) for layer in mean.layers[:-1]}
        classes[place] = ClassPath(group, shown, effective, history.change(place, shown))
    return _Found(classes, samples, units)


def _in_pieces(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    target: Tensor | None,
    rows: list[int],
    probe: Probe,
    *,
    options: PathOptions,
    names: nn.Module,
) -> dict[int, tuple[Contributions, int]]:
    """Run some samples in one pass, or in halves where memory runs out: of each its pass, and its place in that."""

    def run(some: slice) -> Contributions:
        few = tuple(part[rows[some]].clone() for part in inputs)
        return options.contributions(module, few, None if target is None else target[rows[some]], probe, names)

    pieces = in_halves(len(rows), run)
    places = [(piece, place) for piece in pieces for place in range(len(piece))]
    return dict(zip(rows, places, strict=True))
