"""Hyperparameter search with Optuna, and the training configuration files that it proposes."""
