"""What clients ask of the cache, and what they are told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from cache.tags import LONGEST_TTL_S
from echo_api.cache_stats import CacheStats
from echo_tasks.messages import Message, Tag, distinct

MOST_OPERATIONS = 1000
MOST_TAGS = 16

LevelName = Literal["L1", "L2", "L3"]
Ttl = Annotated[float, Field(gt=0, le=LONGEST_TTL_S)]
TagList = Annotated[list[Tag], Field(max_length=MOST_TAGS), AfterValidator(distinct)]


class CachedValue(Message):
    """A value to keep: in the tier of its level, and in those behind it."""

    value: Any
    key: str | None = Field(None, description="the path's key, if it is given at all")
    ttl_seconds: Ttl | None = Field(None, description="unset: DEFAULT_TTL_SECONDS")
    cache_level: LevelName = "L1"
    tags: TagList = Field(default_factory=list)


class Operation(Message):
    """One of many at once; `value` is for `set` alone."""

    type: Literal["get", "set", "delete"]
    key: str
    value: Any = None
    ttl_seconds: Ttl | None = None
    cache_level: LevelName = "L1"
    tags: TagList = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_its_value(self) -> Operation:
        if ("value" in self.model_fields_set) != (self.type == "set"):
            raise ValueError("a value is for set, and only for set")
        return self


class Bulk(Message):
    """Operations, done in their order."""

    operations: list[Operation] = Field(min_length=1, max_length=MOST_OPERATIONS)


class KeyPath(BaseModel):
    """The key that a path names, whatever characters it has."""

    key: str


class TagsPath(BaseModel):
    """Tags that a path names, with commas between them."""

    tags: str


class LevelPath(BaseModel):
    """The level that a path names."""

    level: str


class FoundValue(BaseModel):
    """A value that was found."""

    key: str
    value: Any
    cache_hit: bool
    cache_level: LevelName
    access_count: int = Field(description="how often it was asked for since this process has it in memory")
    age_seconds: float


class Done(BaseModel):
    """What became of one of many operations."""

    key: str
    operation: str
    success: bool
    value: Any = None
    error: str | None = None


class BulkDone(BaseModel):
    """What became of each of the operations, in their order."""

    results: list[Done]


class Kept(BaseModel):
    """A value that is kept."""

    key: str
    status: Literal["cached"]
    cache_level: LevelName
    timestamp: datetime


class Deleted(BaseModel):
    """A value that is forgotten."""

    key: str
    status: Literal["deleted"]
    timestamp: datetime


class Invalidated(BaseModel):
    """What was kept with one of the tags, and is void."""

    tags: list[str]
    deleted_count: int
    timestamp: datetime


class Cleared(BaseModel):
    """A level that was forgotten."""

    level: LevelName
    cleared_count: int
    timestamp: datetime


class Swept(BaseModel):
    """What had expired, and is gone."""

    status: Literal["cleanup_completed"]
    removed_count: int
    timestamp: datetime


class Health(BaseModel):
    """Whether every tier answers."""

    status: Literal["healthy", "degraded"]
    timestamp: datetime
    tiers_away: list[LevelName]
    cache_stats: CacheStats
    memory_usage_mb: float
    entry_count: int
