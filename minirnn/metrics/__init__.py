"""Metrics: scores of predictions, accumulated batch by batch."""

from minirnn.metrics.base import Metric, check_metric
from minirnn.metrics.classification import Accuracy, BinaryAccuracy, TopKAccuracy
from minirnn.metrics.confusion import F1, ConfusionMatrix, Precision, Recall
from minirnn.metrics.function import FunctionMetric
from minirnn.metrics.labels import LabelErrorRate
from minirnn.metrics.likelihood import LogLoss, Perplexity
from minirnn.metrics.regression import MAE, R2, RMSE

__all__ = [
    "F1",
    "MAE",
    "R2",
    "RMSE",
    "Accuracy",
    "BinaryAccuracy",
    "ConfusionMatrix",
    "FunctionMetric",
    "LabelErrorRate",
    "LogLoss",
    "Metric",
    "Perplexity",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "check_metric",
]
