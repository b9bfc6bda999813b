"""The Redis that the features, and all replicas of the service, share."""
