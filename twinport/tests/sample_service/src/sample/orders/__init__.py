"""Feature: orders, kept in a list; over REST and gRPC, with all four kinds of calls."""
