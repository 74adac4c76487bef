"""What runs Glow: training, evaluation and sampling from the command line."""
