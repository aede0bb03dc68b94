"""Carrying out: jobs by key, the journal that is the only state, Changes sent and verified, leadership.

The engine asks `model.plan` what comes next and knows the order of nothing by itself. Killed anywhere, it
continues from the incident's status and the evidence store.
"""
