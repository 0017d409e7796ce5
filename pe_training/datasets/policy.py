"""What a release may hold: the lists and limits that validation judges by, as data. Unknown is denied."""

from __future__ import annotations

from pydantic import Field

from pe_training.core.records import Frozen


class ReleasePolicy(Frozen):
    """The defaults are the house rules; every report names the digest of the policy that judged."""

    licences: tuple[str, ...] = ("therapeutic_license", "synthetic", "public_domain", "reddit_cc")
    pii_statuses: tuple[str, ...] = ("scrubbed", "none_detected")
    min_distinct_ratio: float = Field(default=0.9, ge=0, le=1)  # of content hashes per file and in all
    min_quality: float = 0.0
    max_quality: float = 1.0
    turns: str = r"^S?(?:UA)+$"  # S system, U user, A assistant; an empty message is '_'
    families: tuple[str, ...] = (
        "edge_case_generator", "edge_case_resulting_chats", "edge_case_synthetic", "long_running_therapy", "mental_health_datasets",
        "video_transcripts", "voice_persona", "safety_guardrails", "sarcasm", "cptsd", "addiction", "experimental",
        "roleplay_simulator", "dpo_preference", "priority", "professional_therapeutic", "cot_reasoning", "edge_cases",
    )  # fmt: skip
