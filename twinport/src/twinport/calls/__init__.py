"""What every call passes through, on either transport: ids, limits, errors, observers."""
