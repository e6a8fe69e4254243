"""Facts a reviewer must see, each with a stable code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact a reviewer must see. The code is stable; the sentence may be reworded."""

    code: str
    message: str
    data: Mapping[str, object] = field(default_factory=dict)
