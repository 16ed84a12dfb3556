"""What rules decided, in English, as tests read it."""

from __future__ import annotations

import re

from sluice.app.messages import messages


def english(said: object) -> str:
    """Sentences of a table's cell, with plain blanks."""
    return re.sub("[\u00a0\u2009\u202f]", " ", messages("en").said(said))
