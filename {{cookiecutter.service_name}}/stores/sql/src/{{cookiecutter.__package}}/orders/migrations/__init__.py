"""What has been done to the tables of the orders, in order; a number is that of a schema.

`serves` is the number of the oldest code that goes on working with the schema afterwards.
"""
