"""Printed numbers of any kind against recomputed ones."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from alpaca_analysis.claims.win_rates import DIFFERS, REPRODUCED, UNTESTABLE
from alpaca_analysis.foundations import ties
from alpaca_analysis.foundations.errors import AnnotationError
from alpaca_analysis.inference.results import Reason, finish
from alpaca_analysis.table.checks import columns_once, to_numeric


def check_values(claims: pd.DataFrame) -> pd.DataFrame:
    """Check printed numbers against recomputed ones, to the printed decimals.

    Parameters
    ----------
    claims : DataFrame
        ``printed`` (text: the number of digits is part of the claim) and ``recomputed`` (a number in the
        unit of the printed one, NaN where it cannot be recomputed); other columns pass through, such as
        ``claim``, ``ci_low`` and ``ci_high``.

    Returns
    -------
    DataFrame
        The claims with ``verdict``: "reproduced" if the recomputed number rounds to the printed one, halves
        either way, "differs" if not, "cannot be tested with open data" without a number; ``reason``
        ("not_recomputed") and ``note``. `show` gives recomputed numbers the decimals of the printed ones.

    Raises
    ------
    AnnotationError
        A missing column, or a printed value that is no number as text.

    See Also
    --------
    check_claims : Printed win rates, recomputed from judgements.
    check_correlation : A printed correlation and its points.

    Examples
    --------
    >>> import pandas as pd
    >>> claims = pd.DataFrame({"claim": ["kappa", "price"], "printed": ["0.85", "13.6"],
    ...                        "recomputed": [0.8512, float("nan")]})
    >>> check_values(claims)[["claim", "verdict"]]
       claim                         verdict
    0  kappa                      reproduced
    1  price  cannot be tested with open data
    """
    columns_once(claims, source="claims")
    for column in ("printed", "recomputed"):
        if column not in claims:
            raise AnnotationError(f"a column {column!r}", source="claims", found=list(claims.columns))
    recomputed = to_numeric(claims["recomputed"]).astype(float)
    verdicts = [
        UNTESTABLE if np.isnan(value) else REPRODUCED if is_printed_so(value, number(text)) else DIFFERS
        for value, text in zip(recomputed, claims["printed"], strict=True)
    ]
    absent = Reason("not_recomputed", "no open data to recompute it from")
    return finish(
        claims.assign(recomputed=recomputed, verdict=verdicts),
        estimate="recomputed",
        method="printed value against the recomputed one",
        notes=[absent if verdict == UNTESTABLE else "" for verdict in verdicts],
        settings={"decimals_of": {"recomputed": "printed"}},
    )


def number(printed) -> Decimal:
    """Return a printed number, or raise unless it is one as text.

    Examples
    --------
    >>> number("0.940")
    Decimal('0.940')
    """
    try:
        if not isinstance(printed, str):
            raise InvalidOperation
        value = Decimal(printed.strip().replace(",", ""))
        if not value.is_finite():
            raise InvalidOperation
        return value
    except InvalidOperation:
        raise AnnotationError("a number as printed, as text", source="printed", found=printed) from None


def is_printed_so(value: float, printed: Decimal) -> bool:
    """Tell whether a number is printed so, whichever way a half is rounded.

    Examples
    --------
    >>> is_printed_so(0.945, Decimal("0.94")), is_printed_so(0.9451, Decimal("0.94"))
    (True, False)
    """
    half = 10.0 ** int(printed.as_tuple().exponent) / 2
    apart = abs(value - float(printed))
    return bool(apart < half or ties.equal(apart, half))
