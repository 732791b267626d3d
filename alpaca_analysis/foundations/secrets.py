"""Hide secrets by their value, however they were encoded on the way, before anything is said or kept."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

HIDDEN = "[hidden]"
SHORTEST = 4  # shorter values are not secret, and hiding them would tear ordinary words apart
ANY_CASE = 16  # from this length on, letters are found in either case


def hide(text: str, secrets: Iterable[str | None]) -> str:
    r"""Replace every secret in a text, also where it is escaped, quoted, or encoded.

    Parameters
    ----------
    text : str
        What is to be said or kept.
    secrets : iterable of str or None
        Values to hide. White space around them is no part of them; None and values of fewer than four
        characters are passed over.

    Returns
    -------
    str
        The text with ``[hidden]`` in place of each secret, written plainly, with JSON's, URLs' or HTML's
        escapes (of any of its characters), in hexadecimal, or in base64.

    Examples
    --------
    >>> hide(r"key sk\/ab%2Bcd", ["sk/ab+cd"])
    'key [hidden]'
    """
    for secret in secrets:
        value = (secret or "").strip()
        if len(value) >= SHORTEST:
            text = _pattern(value).sub(HIDDEN, text)
    return text


def hide_in(value: Any, secrets: Iterable[str | None]) -> Any:
    """Hide secrets in every text and name of a JSON value.

    Examples
    --------
    >>> hide_in({"a": ["secret", 1]}, ["secret"])
    {'a': ['[hidden]', 1]}
    """
    secrets = list(secrets)
    if isinstance(value, str):
        return hide(value, secrets)
    if isinstance(value, list):
        return [hide_in(item, secrets) for item in value]
    if isinstance(value, dict):
        return {hide(str(name), secrets): hide_in(item, secrets) for name, item in value.items()}
    return value


def address_secrets(address: str) -> list[str]:
    """Return what is secret in an address: its password, else the user's name, as written and decoded.

    Examples
    --------
    >>> address_secrets("https://me:pa%40ss@example.org/data")
    ['pa%40ss', 'pa@ss']
    """
    user, at, _ = urlsplit(address).netloc.rpartition("@")
    if not at:
        return []
    name, colon, password = user.partition(":")
    shown = password if colon else name
    return [shown, unquote(shown)]


def without_user(address: str) -> str:
    """Return an address without the user's name and password.

    Examples
    --------
    >>> without_user("https://me:secret@example.org/data")
    'https://example.org/data'
    """
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@lru_cache(maxsize=64)
def _pattern(secret):
    escaped = "".join(_forms_of(character) for character in secret)
    data = secret.encode("utf-8", "surrogatepass")
    flags = re.IGNORECASE if len(secret) >= ANY_CASE else re.NOFLAG
    encoded = [re.escape(data.hex()), *_base64_cores(data)] if len(data) >= 8 else [re.escape(data.hex())]
    return re.compile("|".join([escaped, *encoded]), flags)


def _forms_of(character):
    data = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    forms = [
        r"\\{0,32}" + re.escape(character),  # plain, or behind as many backslashes as any encoding makes
        "(?i:" + "".join(f"%(?:25)*{byte:02x}" for byte in data) + ")",
        "(?i:" + "".join(rf"\\{{1,32}}u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)) + ")",
        "(?i:" + "".join(rf"\\{{1,32}}x{byte:02x}" for byte in data) + ")",
        f"(?i:&(?:amp;){{0,32}}#(?:0{{0,32}}{ord(character)}|x0{{0,32}}{ord(character):x});)",
    ]
    named = html.escape(character)
    if named != character:
        forms.append("&(?:amp;){0,32}" + re.escape(named[1:]))
    return f"(?:{'|'.join(forms)})"


def _base64_cores(data):
    """Yield the part of the secret's base64 that does not depend on what stands around it, per offset."""
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        end = len(text) - (1 if (offset + len(data)) % 3 else 0)
        core = text[(0, 2, 3)[offset] : end]
        yield "".join("[+-]" if c == "+" else "[/_]" if c == "/" else re.escape(c) for c in core)
