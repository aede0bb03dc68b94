"""Speed as a ratio against the floor, measured in the same run on the same cluster, interleaved.

Absolute times say little on a small noisy machine: every figure stands beside what the bare calls cost at that moment.
"""
