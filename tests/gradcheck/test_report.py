"""What the report and the errors carry, and what the check leaves alone."""

import random

import numpy as np
import pytest

import minirnn as m
from minirnn.gradcheck import Diagnosis, GradientKindError, GradientShapeError
from tests.gradcheck import hosts as h

X = np.random.default_rng(0).normal(size=(5, 3))


def broken(old="rows.sum(axis=0)", new="rows.mean(axis=0)", host=h.Affine):
    return h.mutant(host, old, new)()


def test_the_error_has_words_and_numbers():
    with pytest.raises(m.GradientError) as caught:
        m.check_gradients(broken(), X)
    error = caught.value
    assert (error.name, error.index[0] in range(4)) == ("b", True)
    assert error.analytic == pytest.approx(error.numeric / 5)
    assert error.diagnosis.startswith("b: looks like a mean over the batch")
    assert isinstance(error.diagnoses[0], Diagnosis)
    first, *rest = str(error).splitlines()
    assert first.startswith("Affine: the gradient on b is wrong at (")
    assert any(line.startswith("b ") and line.endswith("WRONG") for line in rest)
    assert rest[-1] == f"- {error.diagnosis}"


def test_the_report_has_the_words_at_the_comparison():
    report = m.check_gradients(broken(), X, raises=False)
    said = {comparison.name: comparison.diagnosis for comparison in report.comparisons}
    assert not report.passed
    assert said["input"] is None
    assert said["W"] is None
    assert said["b"] == report.diagnoses[0].text
    assert report.diagnosis in repr(report)


def test_the_other_wrong_gradients_are_not_forgotten():
    report = m.check_gradients(broken("grad * (1 - self.y**2)", "grad"), X, raises=False)
    assert "Of input nothing else is known" in repr(report)


def test_a_broken_rule_fails_although_the_numbers_are_right():
    old = "return grad @ self.W.value.T"
    layer = broken(old, "out = grad @ self.W.value.T; grad += 1; return out", h.Linear)
    report = m.check_gradients(layer, X, raises=False)
    assert all(comparison.passed for comparison in report.comparisons)
    assert not report.passed
    with pytest.raises(m.GradientError, match="grad was changed in place") as caught:
        m.check_gradients(layer, X)
    assert caught.value.name == "grad"
    assert caught.value.index == ()
    assert np.isnan(caught.value.analytic)


def test_a_stale_cache_fails_although_a_first_run_is_right():
    layer = broken("self.x = x\n", "self.x = self.__dict__.get('x', x)\n", h.Linear)
    with pytest.raises(m.GradientError, match="breaks a rule") as caught:
        m.check_gradients(layer, X)
    assert caught.value.name == "W"


def test_an_assignment_is_seen_even_in_gradients_of_millions():
    big = h.mutant(
        h.Linear,
        ("y = y + self.b.value", "self.W.grad += self.x.T @ grad", "self.b.grad +="),
        ("y = 1e8 * (y + self.b.value); ", "grad = 1e8 * grad; self.W.grad = self.x.T @ grad",
         "self.b.grad +="),
    )()  # fmt: skip
    report = m.check_gradients(big, X, raises=False)
    assert all(comparison.passed for comparison in report.comparisons)
    assert [(d.kind, d.names) for d in report.diagnoses] == [("overwritten", ("W",))]


def test_a_large_layer_is_told_without_the_experiments_that_are_too_large(monkeypatch):
    monkeypatch.setattr("minirnn.gradcheck.compare.LARGEST", 3)
    report = m.check_gradients(m.Recurrent(broken(
        "dh * (1 - new**2)", "dh", h.TanhCell)), X[None], raises=False)  # fmt: skip
    assert not report.passed
    report = m.check_gradients(broken(), X, raises=False)
    assert [diagnosis.kind for diagnosis in report.diagnoses] == ["not summed"]


def test_malformed_gradients_are_value_and_type_errors_too():
    none = broken("return dz @ self.W.value.T", "dz @ self.W.value.T")
    with pytest.raises(GradientKindError, match="missing return") as caught:
        m.check_gradients(none, X)
    assert isinstance(caught.value, m.GradientError | TypeError)
    transposed = broken("return dz @ self.W.value.T", "return self.W.value @ dz.T")
    with pytest.raises(GradientShapeError, match=r"should have shape \(5, 3\), got \(3, 5\)"):
        m.check_gradients(transposed, X)
    with pytest.raises(ValueError, match="transposed"):
        m.check_gradients(transposed, X)


def test_other_errors_of_backward_keep_their_class_and_say_where():
    layer = broken("return dz @ self.W.value.T", "raise ValueError('mine')")
    with pytest.raises(ValueError, match=r"^Affine.backward, in `raise .*`: mine$") as caught:
        m.check_gradients(layer, X)
    assert not isinstance(caught.value, m.GradientError)


def test_a_forward_that_gives_nan_does_not_pass():
    layer = broken("sigmoid(x)", "np.sqrt(x)", h.SigmoidLayer)
    with np.errstate(all="ignore"):
        report = m.check_gradients(layer, np.full((2, 2), -1.0), raises=False)
    assert not report.passed
    assert report.diagnoses[0].kind == "nan"


@pytest.mark.parametrize("wrong", [False, True])
def test_the_layer_the_arrays_and_the_global_generators_stay(wrong):
    layer = broken() if wrong else h.Affine()
    layer.forward(X[:2])
    layer.W.grad += 3
    x, kept = X.copy(), dict(vars(layer))
    value, grad = layer.W.value.copy(), layer.W.grad.copy()
    before = np.random.get_state()[1].copy(), random.getstate()
    m.check_gradients(layer, x, raises=False)
    np.testing.assert_array_equal(x, X)
    assert vars(layer) == kept
    np.testing.assert_array_equal(layer.W.value, value)
    np.testing.assert_array_equal(layer.W.grad, grad)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


def test_the_verdict_does_not_depend_on_the_seed():
    for seed in range(10):
        report = m.check_gradients(broken("dz = grad * (1 - self.y**2)", "dz = grad"), X,
                                   rng=seed, raises=False)  # fmt: skip
        assert [diagnosis.kind for diagnosis in report.diagnoses] == ["derivative"]


class ShiftedInOnePlace(m.Dense):
    def backward(self, grad):
        grad_x = super().backward(grad)
        self.W.grad[1, 0] += 1.0
        return grad_x


def test_one_wrong_number_is_found():
    layer = ShiftedInOnePlace(4, 2, rng=0)
    report = m.check_gradients(layer, np.random.default_rng(0).normal(size=(3, 4)), raises=False)
    assert "W: looks like a mistake in row 1 and column 0: all else is right" in str(report)


def test_a_parameter_of_a_single_number_is_told_too():
    class Scaled(m.Layer):
        def __init__(self):
            self.scale = m.Parameter(np.float64(0.7))

        def forward(self, x):
            self.x = x
            return x * self.scale.value

        def backward(self, grad):
            self.scale.grad += np.sin(grad * self.x).sum()
            return grad * self.scale.value

    report = m.check_gradients(Scaled(), X, raises=False)
    assert [c.name for c in report.comparisons if not c.passed] == ["scale"]
    assert "No mistake that this check knows" in repr(report)
