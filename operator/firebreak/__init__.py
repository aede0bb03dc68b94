"""Firebreak."""
