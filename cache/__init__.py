"""Tiers of bytes: this process's memory, and a server that every process shares. No tier knows what it keeps."""
