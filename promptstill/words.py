"""Words of a text in any script, for retrieval and for finding texts that are nearly equal. Nothing here translates.

Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan put no space between words. There the overlapping n-grams of
characters stand for words: pairs find Chinese documents as well as a dictionary of words does (Nie, Gao, Zhang and
Zhou, "On the use of words and n-grams for Chinese information retrieval", IRAL 2000), and are what Lucene's
CJKBigramFilter makes. All other scripts, Korean too, are split at their spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Letters and combining marks of those scripts, without their digits and punctuation: both are read as in other scripts.
UNSPACED = (
    "\u3005-\u3007\u3031-\u3035\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"  # Chinese
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"  # Thai, Lao
    "\u0f00\u0f18\u0f19\u0f35\u0f37\u0f39\u0f3e-\u0f84\u0f86-\u0fbc\u0fc6"  # Tibetan
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
)


def find_words(text: str, size: int = 2, signs: str = "") -> list[str]:
    """The words in their order, and all n-grams of `size` characters of each run without spaces; a shorter run is one.

    A character is a letter with its combining marks, as Thai vowels are. signs: a pattern of what else counts, each
    match as a word. Case is kept.
    """
    known: dict[str, str] = {}  # equal n-grams are one object: a long text has few different ones
    found: list[str] = []
    for match in word_pattern(signs).finditer(text):
        if match.lastgroup is None:
            found.append(match[0])
        else:
            found += [known.setdefault(gram, gram) for gram in n_grams(match[0], size)]
    return found


@lru_cache(maxsize=8)
def word_pattern(signs: str) -> re.Pattern[str]:
    """A run without spaces, as the group `run`; a word; or a sign."""
    return re.compile(rf"(?P<run>[{UNSPACED}]+)|[^\W{UNSPACED}]+" + (f"|{signs}" if signs else ""))


def n_grams(run: str, size: int) -> Iterable[str]:
    """The n-grams of the run's characters."""
    parts = run if run.isalnum() else characters(run)  # marks are not alphanumeric
    if len(parts) <= size:
        return [run]
    return map("".join, zip(*(parts[start:] for start in range(size)), strict=False))


def characters(run: str) -> list[str]:
    """Letters, each with the combining marks that follow it."""
    parts: list[str] = []
    for sign in run:
        if parts and unicodedata.category(sign).startswith("M"):
            parts[-1] += sign
        else:
            parts.append(sign)
    return parts
