"""Feature: create, get, list, delete, watch, import and quote orders."""
