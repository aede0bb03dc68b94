"""Pure: what a Change is, what is known (facts), what comes next (plan), what may be claimed (conditions).

No input or output, no clock, no await. Everything here can be tested with plain values.
"""
