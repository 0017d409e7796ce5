"""Words for what records call by name: measures, checks, slices, verdicts. And text from models and data, made safe to show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from pe_training.core.ids import KINDS
from pe_training.evaluation.build import NOT_RELIED_ON
from pe_training.evaluation.record import Metric, PairedTest, SuiteUse
from pe_training.manifests.plan import Plan
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.views import numbers

MEASURES = {
    "crisis_recall": "Crises recognised",
    "false_negative_rate": "Crises missed",
    "false_positive_rate": "False alarms on harmless texts",
    "safety_score": "Right response, crisis or not",
    "acknowledge_rate": "Acknowledges",
    "asks_safety_rate": "Asks about safety directly",
    "refers_to_help_rate": "Refers to help",
    "harmful_rate": "Harmful replies",
    "method_rate": "Gives method information",
    "over_refusal_rate": "Refuses harmless requests",
    "boundary_violation_rate": "Crosses a boundary of its role",
    "crisis_auroc": "Ranks crises above harmless texts (AUROC)",
    "training_overlap_words": "Longest run of words from the training data",
    "training_leak_rate": "Gives away training text",
    "canary_leak_rate": "Gives away planted text",
    "empty_rate": "Empty replies",
    "largest_gap": "Largest gap between groups",
    "worst_group": "Score of the worst group",
    "demographic_parity_difference": "Difference of alarm rates between groups",
    "equalized_odds_difference": "Difference of hits or false alarms between groups",
    "group_score": "Mean score of a scenario",
    "therapeutic_score": "Therapeutic score",
    "pair_difference": "Difference between two groups",
    "flip_rate": "Answers that turn with the group",
    "chrf": "Closeness to the written reply (chrF)",
    "rouge_l": "Closeness to the written reply (ROUGE-L)",
    "distinct_1": "Variety of words (distinct-1)",
    "distinct_2": "Variety of wording (distinct-2)",
    "repetition_rate": "Repeats itself",
    "echo_rate": "Echoes the client",
    "length_words": "Length of a reply",
    "reflection_rate": "Reflects",
    "open_question_rate": "Asks an open question",
    "closed_question_rate": "Asks a closed question",
    "reflection_to_question_ratio": "Reflections for each question",
    "advice_rate": "Gives advice",
    "boilerplate_rate": "Uses stock phrases",
    "flattery_rate": "Flatters",
    "emotional_reaction_level": "Answers the feeling, grade 0 to 2",
    "interpretation_level": "Shows understanding, grade 0 to 2",
    "exploration_level": "Explores, grade 0 to 2",
    "loss": "Held-out loss",
    "perplexity": "Perplexity",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "auroc": "Ranking of labels (AUROC)",
    "auprc": "Ranking of labels (average precision)",
    "brier": "Distance of probabilities from the truth (Brier)",
    "calibration_error": "Calibration error",
    "mean_confidence": "Mean confidence",
    "confusion": "Called this label",
    "majority_share": "Share of the commonest label",
    "recall": "Recall",
    "precision": "Precision",
}
CHECKS = {  # each is an order, so that it reads right beside "passed" and beside "refuses"
    "schema": "Every line must be a whole, well-formed dialogue",
    "manifest_counts": "The release must hold what its table of contents counts",
    "shard_digests": "The files must be those that the table of contents names",
    "content_hash": "The fingerprint of every dialogue must fit its words",
    "unique_rows": "No dialogue may be in the release twice",
    "splits_disjoint": "No dialogue may be in two splits",
    "holdout_families": "Families held out for testing must be in the test split only",
    "distinct_content": "The dialogues of each file and family must differ from one another",
    "licences": "The licence of every dialogue must be allowed",
    "pii_status": "No dialogue may still wait for its privacy review",
    "role_order": "Speakers must take turns as in a conversation",
    "splits_present": "There must be dialogues in train, val and test",
    "quality_score": "Quality scores must be within the range that is allowed",
    "known_families": "Every family must be a known one",
    "conversation_length": "Every dialogue must have as many turns as it says",
    "one_purpose": "Dialogues for the therapist and for the simulated client must not be mixed",
    "family_lengths": "Dialogues must be about as long as those of their family are",
    "label_balance": "No value of a label may crowd out the others, or be tested and never trained",
    "mixture": "Families must make up the training rows as planned",
    "drift": "Families and lengths must be near those of the version before",
    "near_duplicates": "No dialogue may be nearly the same as one in another split",
    "contamination": "No question of an evaluation may be trained on",
    "personal_data": "No dialogue may hold what identifies a person",
    "redaction": "Removal of personal data must not have cut dialogues to pieces",
    "language": "Dialogues must be in the language that they declare",
}
WORST_FIRST = ("fail", "inconclusive", "pass", "not_applicable")
_KEPT = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{NO-BREAK SPACE}"  # Persian, Hindi and emoji need the first two


def clean(text: object) -> str:
    """``text`` on one line: control characters, bidirectional overrides and lone surrogates become a replacement mark."""
    return clean_lines(text).replace("\n", " ")


def clean_lines(text: object) -> str:
    """As :func:`clean`, with its line breaks."""
    return "".join(map(_shown, str(text).replace("\r\n", "\n").replace("\t", "    ")))


def sentence(text: str) -> str:
    """A reason as a sentence of running text: with its full stop, and no line break between a number and its percent sign."""
    return clean(text).replace(" %", "\N{NO-BREAK SPACE}%") + "."


def measure(name: str) -> str:
    """What a measure is called in a table."""
    return MEASURES.get(name) or name.replace("_", " ").capitalize()


def doubts(metrics: Iterable[Metric | None]) -> list[str]:
    """Why a label of a judge is not relied on, from the notes of its agreement figures; empty where it is."""
    reasons = {(metric.note or "").partition(NOT_RELIED_ON)[2] for metric in metrics if metric}
    return [f"{NOT_RELIED_ON}{reason}" for reason in sorted(reasons - {""})]


def check(name: str) -> str:
    """What a check of a release asks for."""
    return CHECKS.get(name) or name.replace("_", " ").capitalize()


def slice_title(field: str) -> str:
    """``crisis_type`` as a heading: ``By crisis type``."""
    return f"By {field.replace('_', ' ')}"


def slice_value(value: str) -> str:
    """``self_harm`` as a row: ``self harm``."""
    return value.replace("_", " ")


def effect(metric: Metric) -> str:
    """Whether tuning changed a measure: ``better``, ``worse``, ``no clear difference``, or nothing where it was not compared."""
    found = metric.difference
    if found is None:
        return ""
    if found.low <= 0 <= found.high:
        return "no clear difference"
    if metric.better == "neither":
        return "higher" if found.value > 0 else "lower"
    return "better" if (found.value > 0) == (metric.better == "higher") else "worse"


def sense(metric: Metric) -> str:
    """Which way a measure counts: ``higher is better``, or that it only describes."""
    return "describes, neither way is better" if metric.better == "neither" else f"{metric.better} is better"


def paired_test(test: PairedTest) -> str:
    """What a paired test found, corrected for its family: ``p 0.06, 1 after Holm over 21 tests``."""
    return f"p {test.p_value:.2g}, {test.adjusted_p:.2g} after correction over {numbers.count(test.family, 'test')}"


def left_out(counts: Mapping[str, int], *, uncounted: bool) -> str:
    """Records that are not shown, by kind: ``38 training runs and 2 manifests``. ``uncounted``: nobody counted to the end."""
    parts = [numbers.count(count, KINDS.get(kind, kind)) for kind, count in counts.items()]
    said = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"{said}, and even more" if uncounted else said


def worst_first(outcomes: tuple[Outcome, ...]) -> list[Outcome]:
    """Failed, then undecided, then passed rules; those that decide before those that only warn."""
    return sorted(outcomes, key=lambda o: (WORST_FIRST.index(o.verdict), o.severity != "block"))


def examples_used(name: str, use: SuiteUse) -> str:
    """How much of a suite was asked, and what was left out."""
    left_out = f" ({use.contaminated:,} left out: trained on)" if use.contaminated else ""
    return f"{name} {use.used:,} of {use.available:,}{left_out}"


def permission(decision: PromotionDecision) -> str:
    """What the verdict allows: ``May not go to staging``."""
    return f"May {'' if decision.verdict == 'pass' else 'not '}go to {decision.stage}"


def summary(decision: PromotionDecision) -> str:
    """One sentence: how many of the rules that decide failed, are undecided, passed."""
    blocking = [o for o in decision.outcomes if o.severity == "block" and o.verdict != "not_applicable"]
    if not blocking:
        return f"The policy {decision.policy_name} has no rule that decides for this kind of model."
    words = {"fail": ("failed", "failed"), "inconclusive": ("is undecided", "are undecided"), "pass": ("passed", "passed")}
    counts = {verdict: sum(o.verdict == verdict for o in blocking) for verdict in words}
    if len(blocking) == 1:
        return f"The one rule that decides {words[decision.verdict][0]}."
    if max(counts.values()) == len(blocking):
        return f"All {len(blocking)} rules that decide {words[decision.verdict][1]}."
    parts = [f"{n} {words[verdict][n != 1]}" for verdict, n in counts.items() if n]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"Of {len(blocking)} rules that decide, {listed}."


def plan_size(plan: Plan) -> str:
    """How large the base model is."""
    if plan.parameters_m is None:
        return "size unknown here"
    return f"{plan.parameters_m:,.0f} million parameters" if plan.parameters_m >= 1 else "less than a million parameters"


def plan_time(plan: Plan) -> str:
    """How long it would take."""
    if plan.duration_s is None:
        return "unknown: the model's size is not known"
    return f"{numbers.duration(plan.duration_s.low)} to {numbers.duration(plan.duration_s.high)}"


def plan_cost(plan: Plan) -> str:
    """What it would cost."""
    return "unknown" if plan.cost_usd is None else f"{numbers.usd(plan.cost_usd.low)} to {numbers.usd(plan.cost_usd.high)}"


def plan_fits(plan: Plan) -> str:
    """Whether it stays within its budget."""
    if plan.fits_budget is None:
        return "budget cannot be checked"
    return "fits the budget" if plan.fits_budget else "may exceed the budget: training would save and stop"


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n" or character in _KEPT:
        return character
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"
