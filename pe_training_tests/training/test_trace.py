"""The trace of a run: norms taken once, equal to torch's, kept through states and steps."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load

from pe_training.training.packing import pack, unpack
from pe_training.training.trace import Gradients, Trace, trained_names


def module(*, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(3)
    made = torch.nn.Sequential(torch.nn.Linear(17, 33), torch.nn.Linear(33, 129), torch.nn.Linear(129, 5, bias=False)).to(dtype)
    for number, parameter in enumerate(made.parameters()):
        parameter.grad = torch.randn_like(parameter) * 10.0 ** (number - 2)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("most", [0.5, 1e6], ids=["clipped", "left alone"])
def test_clipping_by_the_traced_norm_is_what_torch_does_to_the_bit(dtype: torch.dtype, most: float) -> None:
    ours, theirs = module(dtype=dtype), module(dtype=dtype)
    total = Gradients(ours).norms().total
    torch.nn.utils.clip_grads_with_norm_(ours.parameters(), most, total)
    assert torch.equal(torch.nn.utils.clip_grad_norm_(theirs.parameters(), most), total)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_row_holds_the_norm_of_all_and_of_each_tensor_that_is_trained_and_has_a_gradient() -> None:
    made = module()
    frozen, _, _, without, _ = made.parameters()
    frozen.requires_grad = False
    without.grad = None
    gradients = Gradients(made)
    row = gradients.norms().row
    expected = [p.grad.norm() if p.grad is not None else torch.nan for p in made.parameters() if p.requires_grad]
    assert trained_names(made) == [name for name, p in made.named_parameters() if p is not frozen]
    assert torch.allclose(row[1:], torch.tensor(expected), equal_nan=True)
    assert row[0] == torch.nn.utils.get_total_norm([p.grad for p in made.parameters() if p.requires_grad and p.grad is not None])


def test_tensors_of_several_types_have_one_norm_together() -> None:
    made = module()
    first = next(iter(made.parameters()))
    first.data, first.grad = first.data.bfloat16(), None
    first.grad = torch.ones_like(first)
    norms = Gradients(made).norms()
    expected = torch.nn.utils.get_total_norm([p.grad for p in made.parameters()])
    assert torch.allclose(norms.total.float(), expected.float(), rtol=1e-6)
    assert norms.row.dtype is torch.float32


def test_a_trace_goes_on_from_a_saved_state() -> None:
    trace = Trace(["a", "b"], most_steps=4)
    trace.append(step=1, loss=2.5, norms=torch.tensor([1.0, 2.0]))
    saved = unpack(pack(trace.state_dict()))
    trace.append(step=2, loss=9.0, norms=torch.tensor([9.0, 9.0]))
    again = Trace(["a", "b"], most_steps=4)
    again.load_state_dict(saved)
    again.append(step=2, loss=2.25, norms=torch.tensor([0.5, torch.nan]))
    tensors = load(again.to_bytes(rolled_back=()))
    assert tensors["loss"].tolist() == [2.5, 2.25]
    assert tensors["gradient_norms"][0].tolist() == [1.0, 2.0]
    assert tensors["gradient_norms"].dtype is torch.float32


def test_a_state_of_another_model_and_a_step_out_of_turn_are_mistakes_of_ours() -> None:
    trace = Trace(["a"], most_steps=4)
    with pytest.raises(AssertionError, match="another model"):
        trace.load_state_dict({"names": ["b"], "rows": torch.zeros(1, 2)})
    with pytest.raises(AssertionError):
        trace.append(step=2, loss=1.0, norms=torch.ones(1))


def test_the_file_names_tensors_and_steps_that_were_rolled_back_and_is_the_same_bytes_each_time() -> None:
    trace = Trace(["a"], most_steps=4)
    trace.append(step=1, loss=1.0, norms=torch.ones(1))
    event = {"spike_step": 7, "to_step": 5, "loss": "nan", "lr_factor": 0.5}
    data = trace.to_bytes(rolled_back=[event])
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["trace"])
    assert about == {"format": "pe-training/trace-v1", "first_step": 1, "tensors": ["a"], "rolled_back": [[6, 7]]}
    assert trace.to_bytes(rolled_back=[event]) == data


def test_a_trace_of_a_thousand_tensors_and_ten_thousand_steps_fits_in_forty_megabytes() -> None:
    names = [f"model.layers.{number}.weight" for number in range(1_000)]
    trace = Trace(names, most_steps=10_000)
    norms = torch.ones(1_000)
    for step in range(1, 10_001):
        trace.append(step=step, loss=1.0, norms=norms)
    assert len(trace.to_bytes(rolled_back=())) < 41_000_000
