"""A look inside a recurrent network: states, gates, gradients, updates, in plots and words."""

from minirnn.insight.heat_maps import plot_attention, plot_gates
from minirnn.insight.plots import plot_gradients, plot_histograms
from minirnn.insight.recorder import Recorder
from minirnn.insight.records import ActivationRecord, RecurrentRecord, Saturation
from minirnn.insight.report import Finding

__all__ = [
    "ActivationRecord",
    "Finding",
    "Recorder",
    "RecurrentRecord",
    "Saturation",
    "plot_attention",
    "plot_gates",
    "plot_gradients",
    "plot_histograms",
]
