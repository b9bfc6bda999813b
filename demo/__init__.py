"""Two services, requests through both, and the one trace that a request leaves."""
