"""What is done to the template, and servers that are not ours."""
