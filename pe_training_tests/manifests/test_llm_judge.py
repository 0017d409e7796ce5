"""The language model that a manifest asks: refused before anything is trained where nobody could ask it, and no secret in the manifest."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.llm_judge import LlmJudge
from pe_training.manifests.resolve import resolve
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training_tests.manifests.test_judges import judging
from pe_training_tests.manifests.test_parent import DATASET
from pe_training_tests.training.steps import smoke

URL, KEY = "https://user:hidden@judges.example/v1", "sk-secret"


def asking(labels: str, *judges: str) -> Manifest:
    asked = f"baseline: base_model\n  llm_judge: {{model: vendor/judge-2026:large, labels: [{labels}]}}\n  judges: [{', '.join(judges)}]"
    return smoke(DATASET, ("baseline: base_model", asked))


def able(state: State) -> State:
    """The same home with the variables set."""
    return State(Settings(home=state.settings.home, llm_judge_url=SecretStr(URL), llm_judge_key=SecretStr(KEY)))


def refusal(manifest: Manifest, state: State) -> PeError:
    with pytest.raises(PeError) as caught:
        resolve(manifest, state=state)
    assert caught.value.kind is Kind.INPUT
    return caught.value


def test_it_is_pinned_with_its_labels_in_one_order_moves_no_weight_and_holds_no_secret(state: State) -> None:
    manifest = resolve(asking("interpretation, exploration"), state=able(state))
    assert manifest.spec.evaluation.llm_judge == LlmJudge(model="vendor/judge-2026:large", labels=["exploration", "interpretation"])
    assert resolve(asking("exploration, interpretation"), state=able(state)).id == manifest.id
    assert plan_run(manifest).id == plan_run(resolve(smoke(DATASET), state=state)).id
    assert not [secret for secret in ("hidden", "judges.example", KEY) if secret in manifest.to_json()]


def test_without_an_endpoint_it_is_refused_before_anything_is_trained(state: State) -> None:
    found = refusal(asking("exploration"), state)
    assert str(found) == (
        "PE_LLM_JUDGE_URL: it is not set, and evaluation.llm_judge asks a model there "
        "(set it to the endpoint's URL up to /v1, or leave evaluation.llm_judge out)"
    )
    unusable = State(Settings(home=state.settings.home, llm_judge_url=SecretStr("judges.example/v1")))
    found = refusal(asking("exploration"), unusable)
    assert str(found) == "PE_LLM_JUDGE_URL: it is no http or https URL (such as https://HOST/v1)"


def test_a_label_that_nobody_asks_about_and_one_that_a_trained_judge_speaks_for_are_refused(state: State) -> None:
    found = refusal(asking("explorations"), able(state))
    assert (found.where, found.hint) == ("evaluation.llm_judge.labels", "did you mean 'exploration'?")
    judge = judging(state)
    found = refusal(asking("interpretation, exploration", judge.id), able(state))
    assert found.where == "evaluation.llm_judge.labels"
    assert found.message == "the model vendor/judge-2026:large and a trained judge both judge 'exploration'"
    manifest = resolve(asking("interpretation", judge.id), state=able(state))
    assert manifest.spec.evaluation.judges == [judge.id]


@pytest.mark.parametrize(
    "name", ["gpt-4o-2024-08-06", "meta-llama/Llama-3.3-70B-Instruct", "qwen2.5:72b-instruct-q4_K_M", "@cf/a/b", "a/b/c"]
)
def test_names_as_providers_write_them_are_names(name: str) -> None:
    assert LlmJudge(model=name, labels=["exploration"]).model == name


@pytest.mark.parametrize("name", ["https://judges.example", "http://x/v1", "a b", "", "-x", "a\n", "a//b", "a:", "x" * 129])
def test_a_url_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        LlmJudge(model=name, labels=["exploration"])
