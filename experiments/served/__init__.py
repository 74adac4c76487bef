"""Asking an export: in this process, by gRPC or by REST; and directions in its latent space."""
