"""Audit events in, findings out: decoding, Sigma rules, correlations. Knows nothing of incidents."""
