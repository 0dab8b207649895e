"""Skim predictors: small networks that tell relevant blocks from irrelevant ones, one kind per file."""
