"""Pages that ask nothing of a network: what a Content-Security-Policy and a script's data need."""

from __future__ import annotations

import base64
import hashlib
import json


def digest(text: str) -> str:
    """Return a script or style as a Content-Security-Policy names it: nothing else may run then.

    Examples
    --------
    >>> digest("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_data(value) -> str:
    r"""Return a value as JSON that cannot end the script it stands in.

    Examples
    --------
    >>> script_data(["</script>"])
    '["\\u003c/script>"]'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
