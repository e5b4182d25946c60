"""bwpredict: the monthly retraining of the DWCP bandwidth predictor."""

__version__ = "0.1.0"
