"""Public fakes and contract suites, for tests of FlowWeaver and of what is built on it.

A fake passes the same contract suite as the thing that it stands for.
"""
