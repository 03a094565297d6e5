"""The options of a path monitor that decide what is computed and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from lightning_explain.attribution.lrp.composites import Composite, LayerRules
from lightning_explain.callbacks.base.compatibility import ComparedOptions, in_words
from lightning_explain.paths import ContributionGraph, Contributions, InputUnits, PathGraph, contributions, path_graph
from lightning_explain.probe import Probe
from lightning_explain.render.shown_inputs import declared_units

Show = Literal["class", "sample"]


@dataclass(frozen=True, kw_only=True)
class PathOptions:
    """The options of a path monitor that decide what is computed and shown.

    Attributes:
        rules: As in `contributions`, like `layers`, `patch` and `keep_positions`.
        show: The pictures show the mean over a `"class"`, or its first `"sample"`.
        every_sample: Keep the graph of every single sample.
        ablation: Measure what the score loses without the units drawn.
        drawn: As in `path_graph`, like `n_units` and `n_paths`.
    """

    rules: Composite | LayerRules | None
    layers: str | list[str] | None
    patch: int | None
    keep_positions: bool
    show: Show
    every_sample: bool
    ablation: bool = False
    drawn: float
    n_units: int
    n_paths: int

    @property
    def description(self) -> ComparedOptions:
        """The options that decide which edges there are, as text."""
        own = {"layers": self.layers, "patch": self.patch, "keep_positions": self.keep_positions}
        return {"rules": self.rules_name, **{key: in_words(option) for key, option in own.items()}}

    @property
    def rules_name(self) -> str:
        """Name of the rules in titles and records."""
        if self.rules is None:
            return "LRP-epsilon"
        return "LRP by own rules" if isinstance(self.rules, Mapping) else f"LRP {type(self.rules).__name__}"

    def contributions(
        self,
        model: nn.Module,
        inputs: tuple[Tensor, ...],
        target: Tensor | None,
        probe: Probe,
        names_from: nn.Module,
        groups: Tensor | None = None,
    ) -> Contributions:
        """Run the model, ready to compute graphs."""
        return contributions(
            model,
            inputs if isinstance(probe.inputs, tuple) else inputs[0],
            target,
            rules=self.rules,
            layers=self.layers,
            feature_names=probe.feature_names,
            patch=self.patch,
            input_units_given=declared_units(probe),
            keep_positions=self.keep_positions,
            groups=groups,
            names_from=names_from,
        )

    def show_of(self, probe: Probe) -> Show:
        """Return the subject of the pictures: for texts always single samples, whose words differ at each place."""
        return self.show if probe.parts[0].is_floating_point() else "sample"

    def shown(self, graph: ContributionGraph, units: tuple[InputUnits, ...], output_name: str) -> PathGraph:
        """Choose the units and edges of a graph that are shown."""
        return path_graph(
            graph,
            input_names=[unit.names for unit in units],
            output_name=output_name,
            drawn=self.drawn,
            n_units=self.n_units,
            is_merged=self.layers is None,
            n_paths=self.n_paths,
        )
