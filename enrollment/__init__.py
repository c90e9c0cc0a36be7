"""Consent, capture, template, seal; withdraw; purge."""
