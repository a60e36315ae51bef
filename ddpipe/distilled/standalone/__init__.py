"""The program that `ddpipe export` puts beside a set, in parts that know nothing of ddpipe: bundle.py joins them.

A module named as a kind of protocol has `learn(net, about, arrays)`, which makes a new network know the set by
`training` of about.json. A part imports others of this package by `from ... import names`, and else torch, numpy and
the standard library alone.
"""
