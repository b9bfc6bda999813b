"""A service of one route, which is all that the tests of the extras need."""
