"""Coresets, real images chosen as a set (the baselines of the survey): a module for each record in ddpipe/settings.

Distances are Euclidean, in float64, between features as they are given.
"""
