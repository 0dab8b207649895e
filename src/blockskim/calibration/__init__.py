"""Thresholds for a target of accuracy or speed."""
