"""Certificates: what they are made of is checked at the start, and read again when it changes."""

from .files import Followed, HttpTlsSettings, TlsFiles, TlsSettings

__all__ = ["Followed", "HttpTlsSettings", "TlsFiles", "TlsSettings"]
