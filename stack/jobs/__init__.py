"""What the stack does by itself: set up, link, and delete; needs the standard library alone."""
