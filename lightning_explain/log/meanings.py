"""Meaning of the metrics and pictures of neurons and paths, which loggers that can show beside them."""

METRICS: dict[str, str] = {
    "dead": "Share of the neurons that are active for no sample of any class.",
    "dormant": "Share of the neurons whose mean activation is below a fortieth of their layer's (Sokar et al. 2023).",
    "always_on": "Share of the neurons that are active for every sample of every class.",
    "exclusive": "Share of the neurons that are in the active set of exactly one class.",
    "selectivity": "Class selectivity, mean over the neurons: 0 if all classes excite one alike, 1 if one alone.",
    "overlap": "Overlap of the active sets of two classes (Jaccard index), mean over the pairs.",
    "turnover": "What has changed since the last report, 1 - Jaccard index: of the active sets, or of a path's edges.",
    "gap": "Mean absolute difference between the rates in training and in validation.",
    "purity": "Share of a neuron's exemplars that have the commonest label among them, mean over the neurons.",
    "stayed": "Share of the exemplars that were exemplars at the last report, mean over the neurons.",
    "settled": "Share of the neurons of which three quarters of the exemplars have stayed from report to report.",
    "macro_f1": "F1 in validation, mean over the classes.",
    "precision": "Precision of the class in validation.",
    "recall": "Recall of the class in validation.",
    "f1": "F1 of the class in validation.",
    "overhead": "Share of the wall time that this monitor has taken so far.",
    "shown_share": "Share of the decision that the drawn units carry, mean over the classes.",
    "top_paths_share": "Share of the decision that the strongest single paths carry, mean over the classes.",
    "absorbed_share": "Share of the score that offsets took (biases, positions), so that it reached no input.",
    "effective_units": "Effective number of units that carry the decision: e to the entropy of their shares.",
    "class_turnover": "What of the class's path has changed since the last report: 1 - Jaccard index of its edges.",
    "ablation": "Share of the score that is lost without the drawn units, mean over the classes.",
    "ablation_random": "The same without as many random other units of the same layers.",
    "class_ablation": "Share of the class's score that is lost without the drawn units.",
}
"""Meaning of a metric, by the part of its tag that names it."""

PICTURES: dict[str, str] = {
    "rates": "How often each neuron (across) is active for each class (down).",
    "overlaps": "Overlap of the active sets of every two classes, in percent.",
    "features": "Which input features raise (red) and lower (blue) the neurons that tell most of each class.",
    "exemplars": "The validation samples that excite each unit most, and what in them does.",
    "maps": "Activation maps of one probe sample.",
}
"""Meaning of a picture, by the last part of its tag."""

PATH = (
    "The way of a class's decision: from the input over units of each layer; lines as strong as what they carry. "
    "Drawn anew where it would look other than before."
)


def metric_meaning(tag: str) -> str:
    """Return the meaning of a metric by its tag: that of its last part that is known; empty if none is.

    Example:
        >>> metric_meaning("explain/neurons/body.1/dead")
        'Share of the neurons that are active for no sample of any class.'
        >>> metric_meaning("explain/neurons/f1/cat")
        'F1 of the class in validation.'
    """
    return next((METRICS[part] for part in reversed(tag.split("/")[2:]) if part in METRICS), "")


def picture_meaning(tag: str) -> str:
    """Return the meaning of a picture of neurons or paths by its tag.

    Example:
        >>> picture_meaning("explain/neurons/body.1/rates")
        'How often each neuron (across) is active for each class (down).'
    """
    return PICTURES.get(tag.rpartition("/")[2], PATH)
