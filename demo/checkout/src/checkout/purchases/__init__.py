"""Feature: buy what the order book offers."""
