"""The original's flags and hyperparameters, and the paper's rows."""
