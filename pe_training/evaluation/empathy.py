"""The three mechanisms of empathy in text (EPITOME; Sharma et al. 2020), graded 0, 1 or 2 by word patterns.

The grades, in our words:

- emotional reaction: 1 comforts or accepts what the client feels, 2 says what it feels for the client (sorry, glad, "how frightening")
- interpretation: 1 claims to understand, 2 says what it has understood: a feeling or an experience of the client
- exploration: 1 asks in general or about facts, 2 asks what the client feels, thinks or has lived through

Two of the three follow from what the rubric sees already, and share its weaknesses. A judge that learnt from people's labels takes
their place where a manifest names one (``trained.py``), or a language model does (``llm_judge.py``). Agreement with a person on the
even half of ``samples/suites/calibration/replies.jsonl`` is in the calibration record; whoever wrote the patterns also gave the grades,
which flatters.
How much: on the development part of EPITOME itself, which is peers on a forum who tell of themselves, the weighted kappa is .33, -.03
and .71. So the rules are relied on for exploration only (``replies.yaml``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pe_training.evaluation.conduct import sentences
from pe_training.evaluation.rubric import Judgement, judge

_FEELS_FOR = re.compile(
    r"\bi(?:'m| am)(?: \w+)?(?: \w+)? (?:sorry|glad|sad|worried|concerned|relieved|moved|touched|happy|proud)\b|^(?:how|what an?) (?:\w+ )?"
    r"(?:\w+(?:ing|ful|less)|relief|blow|shock|sad|awful|hard|lonely)\b|\bmy heart\b"
)
_COMFORTS = re.compile(
    r"\bnot alone\b|\bhere (?:for you|to listen)\b|\bthank you for (?:sharing|telling|trusting)\b|\bappreciate your\b|\bcourage\b|"
    r"\bstorm passes\b|\bbrighter days\b|\bbetter days\b|\btime heals\b|\byour fault\b|\bno wonder\b"
)
_CLAIMS_TO_UNDERSTAND = re.compile(
    r"\bi (?:\w+ )?(?:understand|get it|can imagine|know how)\b|\b(?:understandable|makes sense|is natural|is normal)\b"
)
_ABOUT_THE_CLIENT = re.compile(
    r"\byou(?:'re|r| are)? (?:\w+ )?(?:feel|felt|feeling|think|thought|thinking|want|wanting|hop(?:e|ed|ing)|wish|fear|afraid|angry|"
    r"sad|scared|plan|hurt|intending)\b"
)


def grades(reply: str, seen: Judgement | None = None) -> Mapping[str, int]:
    """Mechanism -> 0, 1 or 2. An empty reply has none. ``seen``: what the rubric saw in it, if that is known already."""
    seen, every = seen or judge(reply), sentences(reply)
    questions = [sentence for sentence in every if sentence.endswith("?")]
    feels, comforts = any(map(_FEELS_FOR.search, every)), any(map(_COMFORTS.search, every))
    named = seen.acknowledges and judge(" ".join(sentence for sentence in every if not _COMFORTS.search(sentence))).acknowledges
    understood, claims = seen.reflection or named, any(map(_CLAIMS_TO_UNDERSTAND.search, every))
    asks = seen.open_question or any(map(_ABOUT_THE_CLIENT.search, questions))
    return {
        "emotional_reaction": 2 if feels else int(seen.acknowledges or comforts),
        "interpretation": 2 if understood else int(claims),
        "exploration": 2 if asks else int(bool(questions) and not (seen.advice and not seen.asks_safety)),
    }
