"""Alerts in, incidents out: one adapter for each format, who may send, what is a repeat, what to open."""
