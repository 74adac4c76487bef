"""The specification of glow_tf and experiments."""
