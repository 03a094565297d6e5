"""Input features that feed the neurons of each class, with their signs."""

from lightning_explain.feeding.feeding_features import FeedingFeatures, Pairs, feature_name
from lightning_explain.feeding.neuron_search import choose_neurons, feeding_features
from lightning_explain.feeding.weights import input_weights

__all__ = ["FeedingFeatures", "Pairs", "choose_neurons", "feature_name", "feeding_features", "input_weights"]
