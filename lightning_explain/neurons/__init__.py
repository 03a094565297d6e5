"""Which neurons are active for which class."""

from lightning_explain.neurons.activity import Activity, unit_activity
from lightning_explain.neurons.metric import ActiveNeurons, ClassRates
from lightning_explain.neurons.profile import LayerProfile, turnover

__all__ = ["ActiveNeurons", "Activity", "ClassRates", "LayerProfile", "turnover", "unit_activity"]
