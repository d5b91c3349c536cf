"""Dashboards, alerting rules and the reference of metrics, generated: `python -m
observability.generate`. For development only: nothing that is deployed imports it.
"""
