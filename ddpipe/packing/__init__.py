"""Stages that run on a machine without network and without DVC, for as long as it is lent: there and back again."""
