"""Values that JSON can hold."""

import json
import math
from collections.abc import Mapping
from typing import Any, cast


def json_ready(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by null; make keys strings and tuples lists.

    Example:
        >>> json_ready({1: (0.5, float("nan"))})
        {'1': [0.5, None]}
    """
    kind = type(value)
    if kind is int or kind is str:
        return value  # most values are plain; asking whether they are a Mapping takes longest
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        mapping = cast(Mapping[Any, Any], value)
        return {str(key): json_ready(part) for key, part in mapping.items()}
    if isinstance(value, list | tuple):
        return [json_ready(part) for part in cast(list[Any], value)]
    return value


def json_text(value: Any, separators: tuple[str, str] | None = None) -> str:
    """Write a value as JSON, NaN and infinity as null.

    Example:
        >>> json_text({"a": [0.5, float("nan")]}), json_text({1: (2,)}, (",", ":"))
        ('{"a": [0.5, null]}', '{"1":[2]}')
    """
    try:  # most values hold nothing that JSON does not have, and to look for it takes ten times as long
        return json.dumps(value, allow_nan=False, separators=separators)
    except (TypeError, ValueError):
        return json.dumps(json_ready(value), allow_nan=False, separators=separators)
