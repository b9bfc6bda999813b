"""What an error becomes on the wire: an HTTP problem (RFC 9457) or a google.rpc.Status."""
