"""Builders of hostile files, one module for each class of attack."""
