"""Decision paths from input to class: contributions of units, strongest paths, change over time."""

from lightning_explain.paths.ablation import Ablation, ablation
from lightning_explain.paths.blocks import LayerBlock
from lightning_explain.paths.change import PathChange, path_change
from lightning_explain.paths.coarser import mean_graph
from lightning_explain.paths.contribution_graph import ContributionGraph, Link, UnitLayer, effective_units
from lightning_explain.paths.contributions import Contributions, contributions
from lightning_explain.paths.nodes import PathEdge, PathGraph, PathNode
from lightning_explain.paths.path_graph import path_graph
from lightning_explain.paths.path_units import InputUnits
from lightning_explain.paths.ranking import Ranked, ranking
from lightning_explain.paths.search import Path, Search, top_paths

__all__ = [
    "Ablation",
    "ContributionGraph",
    "Contributions",
    "InputUnits",
    "LayerBlock",
    "Link",
    "Path",
    "PathChange",
    "PathEdge",
    "PathGraph",
    "PathNode",
    "Ranked",
    "Search",
    "UnitLayer",
    "ablation",
    "contributions",
    "effective_units",
    "mean_graph",
    "path_change",
    "path_graph",
    "ranking",
    "top_paths",
]
