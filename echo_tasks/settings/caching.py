"""Cached answers, and what the cache may hold."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Caching(BaseModel):
    """All tiers; what expires is for the farm's answers and for clients' own values."""

    enable_caching: bool = Field(True, description="answer a job again from the cache")
    cache_ttl_seconds: int = Field(300, ge=1, le=604800, description="seconds that a cached answer is good for")
    default_ttl_seconds: int = Field(
        300,
        ge=1,
        le=604800,
        description="seconds that a value put into the cache over HTTP is good for by default",
    )
    max_key_size_bytes: int = Field(1024, ge=16, le=4096, description="longest key of a cached value over HTTP")
    max_value_size_bytes: int = Field(
        1048576, ge=16, le=16777216, description="largest cached value over HTTP, as JSON"
    )
    max_cache_memory_mb: int = Field(512, ge=8, description="megabytes of the farm's own cache server")
    disk_cache_mb: int = Field(
        1024, ge=0, description="megabytes of disk for cached answers and states that outlive the farm; 0: none"
    )
    cleanup_interval: int = Field(60, ge=1, description="seconds between two sweeps of what has expired in the cache")
    eviction_policy: Literal["lru", "lfu", "fifo", "wtinylfu"] = Field(
        "lru",
        description="what a full cache lets go of first; the farm's own cache server knows lru, and lfu for the others",
    )
    enable_compression: bool = Field(True, description="compress values in the shared cache tier")
