"""From outputs to judgements: pairs, an order of presentation, a judge, and what it said.

Examples
--------
>>> from alpaca_analysis.judging import judge
>>> mine = [{"instruction": "Say hello.", "output": "Hello there!", "generator": "mine"}]
>>> theirs = [{"instruction": "Say hello.", "output": "Hi", "generator": "theirs"}]
>>> judge(mine, theirs, judge="length")
<Judgements of 'mine' against 'theirs' by 'length': 1 of 1 judged; 1 requests asked, 0 from disk, $0.0000>
"""

from alpaca_analysis.asking.server import ServerError, ServerRefused
from alpaca_analysis.judging.alpaca_eval_judge import AlpacaEvalJudge
from alpaca_analysis.judging.designs import (
    BatchedChoice,
    Design,
    FiveGrades,
    OneToken,
    Ranking,
    Reasoning,
    Shown,
    Structured,
    ThreeGrades,
)
from alpaca_analysis.judging.judges import (
    ChatJudge,
    FunctionJudge,
    Judge,
    RandomJudge,
    make_judge,
)
from alpaca_analysis.judging.records import Judgements
from alpaca_analysis.judging.run import JudgeWarning, judge
from alpaca_analysis.judging.stopping import Decided
from alpaca_analysis.judging.verdicts import Verdict, read_verdict

__all__ = [
    "AlpacaEvalJudge",
    "BatchedChoice",
    "ChatJudge",
    "Decided",
    "Design",
    "FiveGrades",
    "FunctionJudge",
    "Judge",
    "JudgeWarning",
    "Judgements",
    "OneToken",
    "RandomJudge",
    "Ranking",
    "Reasoning",
    "ServerError",
    "ServerRefused",
    "Shown",
    "Structured",
    "ThreeGrades",
    "Verdict",
    "judge",
    "make_judge",
    "read_verdict",
]
