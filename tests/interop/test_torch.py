"""Conversions to PyTorch and back, on models with every part that has a counterpart."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import minirnn as mr  # noqa: E402
from minirnn.interop import torch_modules as modules  # noqa: E402
from minirnn.interop import weights  # noqa: E402
from minirnn.interop.counterparts import ConversionError  # noqa: E402
from minirnn.interop.proof import prove  # noqa: E402
from minirnn.interop.torch import from_torch, load_torch, run_of, to_torch  # noqa: E402
from minirnn.layers import LastState, LogSoftmax, MaxOverTime, MeanOverTime  # noqa: E402
from minirnn.layers.normalization import LayerNorm  # noqa: E402
from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus  # noqa: E402
from tests.interop.models import branching, disturb, everywhere, not_in_keras  # noqa: E402

DTYPES = ["float32", "float64"]


def models(dtype):
    kw = {"dtype": dtype}
    return (
        everywhere(dtype)
        | not_in_keras(dtype)
        | branching(dtype)
        | {
            "rnn cell": mr.RNNCell(3, 4, **kw),
            "lstm cell": mr.LSTMCell(3, 4, **kw),
            "gru cell": mr.GRUCell(3, 4, **kw),
            "states": mr.Sequential(
                [
                    mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw)),
                    LayerNorm(8, epsilon=1e-3, **kw),
                    LastState(),
                    LogSoftmax(),
                ]
            ),
            "mean": mr.Sequential(
                [mr.GRU(3, 4, **kw), LeakyReLU(0.2), ELU(0.5), SiLU(), MeanOverTime()]
            ),
            "max": mr.Sequential([mr.GRU(3, 4, **kw), GELU(), Softplus(), MaxOverTime()]),
        }
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", models("float32"))
def test_there_and_back(name, dtype, capsys):
    model = disturb(models(dtype)[name])
    before = model.state_dict()
    module = to_torch(model)
    again = from_torch(module)
    assert capsys.readouterr().out.count("largest difference") == 2
    for (_, one), (_, two) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        np.testing.assert_array_equal(one.value, two.value)
        assert one.value.dtype == two.value.dtype == dtype
    fresh = disturb(models(dtype)[name], seed=1)
    load_torch(fresh, module.state_dict())
    for key, value in fresh.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", ["tagger", "classifier", "unequal", "states", "mean", "max"])
def test_gradients_agree_under_a_mask_with_holes(name):
    model = disturb(models("float64")[name]).eval()
    module = to_torch(model, verify=False)
    rng = np.random.default_rng(3)
    mask = rng.random((4, 6)) < 0.6
    mask[:, 2] = True
    x = rng.integers(0, 9, (4, 6)) if name == "tagger" else rng.standard_normal((4, 6, 3))
    y = model.forward(x, mask=mask)
    grad = rng.standard_normal(y.shape)
    if y.ndim == 3:
        grad[~mask] = 0
    model.backward(grad)
    theirs = module(torch.tensor(x), torch.tensor(mask))
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    (theirs * torch.tensor(grad)).sum().backward()
    real = mask if y.ndim == 3 else slice(None)
    np.testing.assert_allclose(y[real], theirs.detach().numpy()[real], atol=1e-12)
    for own, parameter in zip(from_gradients(module).parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(own.value, parameter.grad, atol=1e-12)


def from_gradients(module):
    """Return minirnn's model whose weights are the gradients of the module's."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            grad = parameter.grad
            if "bias_hh" in name:  # equals bias_ih's, of which our bias has one
                keep = torch.zeros_like(grad)
                if len(grad) % 3 == 0:
                    keep[-len(grad) // 3 :] = grad[-len(grad) // 3 :]
                grad = keep
            parameter.copy_(grad)
    return from_torch(module, verify=False)


def test_a_sequence_without_real_steps_keeps_its_state():
    layer = disturb(mr.LSTM(3, 4, dtype="float64"))
    mask = np.array([[True, True], [False, False]])
    x, state = np.ones((2, 2, 3)), (np.full((2, 4), 0.5), np.full((2, 4), 0.25))
    y = layer.forward(x, mask, state)
    tensors = [torch.tensor(array) for array in (x, mask)]
    their_y, their_state = modules.run(
        to_torch(layer), *tensors, tuple(torch.tensor(s)[None] for s in state)
    )
    np.testing.assert_allclose(y, their_y.detach(), atol=1e-12)
    for one, two in zip(layer.state, their_state, strict=True):
        np.testing.assert_allclose(one, two[0].detach(), atol=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_several_layers_both_directions(kind, bidirectional, batch_first):
    options = {"batch_first": batch_first, "bidirectional": bidirectional, "dropout": 0.25}
    module = kind(3, 5, num_layers=3, dtype=torch.float64, **options)
    model = from_torch(module)
    assert [type(layer).__name__ for layer in model][1::2] == ["Dropout", "Dropout"]
    fresh = disturb(from_torch(module, verify=False))
    load_torch(fresh, module.state_dict())
    for one, two in zip(model.parameters(), fresh.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, two.value)


def test_without_biases():
    model = from_torch(nn.LSTM(3, 4, bias=False))
    assert not model.cell.b.value.any()
    load_torch(disturb(model), nn.LSTM(3, 4, bias=False).state_dict())
    assert not model.cell.b.value.any()


class LastOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.drop = nn.Dropout(0.3)
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, tokens):
        h0 = torch.zeros(2, tokens.size(0), 6)
        y, _ = self.lstm(self.drop(self.embedding(tokens)), (h0, torch.zeros_like(h0)))
        return self.head(torch.tanh(y[:, -1, :]))


class LastHidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 6)
        self.lstm = nn.LSTM(6, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        y, _ = self.rnn(x)
        _, (h, _) = self.lstm(y.relu())
        return nn.functional.softmax(self.fc(h[-1]), dim=-1)


class Mean(LastOutput):
    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0].mean(dim=1))


class Largest(LastOutput):
    def forward(self, tokens):
        return self.head(torch.max(self.lstm(self.embedding(tokens))[0], dim=1)[0])


class BothEnds(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        _, (h, _) = self.rnn(x)
        return self.fc(torch.cat((h[-2], h[-1]), dim=1))


class Halves(BothEnds):
    """The last step of the one half of the output, the first of the other."""

    pick = staticmethod(lambda y: (y[:, -1, :3], y[:, 0, 3:]))

    def forward(self, x):
        return self.fc(torch.cat(self.pick(torch.tanh(self.rnn(x)[0])), dim=1))


class HalvesInTwoSteps(Halves):
    pick = staticmethod(lambda y: (y[:, :, :-3][:, -1], y[..., 3:6][:, 0]))


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (lambda y: (y[:, 0, :3], y[:, -1, 3:]), "getitem.* for other steps than the last"),
        (lambda y: (y[:, 0, 3:], y[:, -1, :3]), "cat .* final state of the second of two"),
        (lambda y: (y[:, -1, :2], y[:, 0, 2:]), "getitem.* features of one direction"),
        (lambda y: (y[:, 1:],), "getitem.* features of one direction"),
        (lambda y: (y[:, -1, ::2], y[:, -1, 1::2]), "getitem.* features of one direction"),
        (lambda y: (y[:, -1, :3].relu(), y[:, 0, 3:]), "relu .* for the final state of the first"),
        (lambda y: (y[:, -1][:, :3], y[:, 0][:, 3:]), "getitem.* features of one direction"),
        (lambda y: (y[:, :, :3].mean(1), y[:, 0, 3:]), "mean .* for the outputs of the first"),
    ],
)
def test_other_parts_of_an_output_are_refused(pick, message):
    module = Halves()
    module.pick = pick
    with pytest.raises(ConversionError, match=message):
        from_torch(module, verify=False)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        (Halves, "LastState"),
        (HalvesInTwoSteps, "LastState"),
        (LastOutput, "LastStep"),
        (LastHidden, "LastState"),
        (Mean, "MeanOverTime"),
        (Largest, "MaxOverTime"),
        (BothEnds, "LastState"),
    ],
)
def test_a_class_of_a_users_own(kind, layer):
    module = kind().eval()
    model = from_torch(module)
    assert layer in repr(model)
    load_torch(disturb(model), module.state_dict())


class Branches(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.gru = nn.GRU(4, 4, batch_first=True)
        self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=batch_first)
        self.dense, self.head = nn.Linear(4, 3), nn.Linear(6, 2)

    def forward(self, x):
        x = x + torch.relu(self.gru(input=x)[0])
        _, (h, _) = self.lstm(x)
        ends = [h[1], torch.tanh(self.dense(x))[:, -1]]
        return nn.functional.log_softmax(self.head(torch.cat(ends, dim=-1)), dim=1)


def test_branches_of_a_users_own():
    module = Branches(batch_first=True).eval()
    model = from_torch(module)
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Residual", "Parallel", "Dense", "LogSoftmax"]
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(model.predict(x.numpy()), module(x).detach(), atol=1e-6)
    with pytest.raises(ConversionError, match="lstm in the forward .* with batch_first=False, it"):
        from_torch(Branches(batch_first=False))


class Around(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.head = body, nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.body(x))


def test_what_was_converted_goes_back_as_a_part_of_another_module():
    halves = mr.Bidirectional(mr.LSTM(4, 2), mr.GRU(4, 3))
    body = to_torch(disturb(mr.Sequential([mr.GRU(3, 4), halves, LastState()])))
    kinds = [type(layer).__name__ for layer in from_torch(Around(body))]
    assert kinds == ["GRU", "Bidirectional", "LastState", "Dense"]


class Skips(LastHidden):
    def forward(self, x):
        y = self.rnn(x)[0]
        return self.fc(self.lstm(y)[0]) + y[..., :3]


class Hidden(LastHidden):
    def forward(self, x):
        h0 = torch.ones(1, x.size(1), 6)
        return self.rnn(x, h0)[0]


class Encoded(LastHidden):
    def forward(self, x):
        return self.rnn(x, self.rnn(x)[1])[0]


class KeepsTheAxis(LastHidden):
    def forward(self, x):
        return self.rnn(x)[0].mean(dim=0, keepdim=True)


class Cells(LastHidden):
    def forward(self, x):
        return self.lstm(self.rnn(x)[0])[1][1][-1]


class AllStates(LastHidden):
    def forward(self, x):
        return self.rnn(x)[1]


class OneEnd(BothEnds):
    def forward(self, x):
        return self.fc(torch.cat([self.rnn(x)[1][0][-1]] * 2, dim=1))


class TwoInputs(LastHidden):
    def forward(self, x, lengths):
        return self.rnn(x)[0]


class SoftplusOf(nn.Linear):
    def forward(self, x):
        return nn.functional.softplus(x, threshold=1.0)


def hooked(module):
    module.register_forward_hook(lambda module, args, y: 2 * y)
    return module


def replaced(module):
    module.forward = lambda x: 2 * x
    return module


class Warm(mr.LSTMCell):
    def initial_state(self, batch_size):
        return tuple(np.ones((batch_size, self.hidden_size), np.float32) for _ in "hc")


class OwnCell(mr.Cell):
    input_size, hidden_size = 3, 3

    def forward(self, x_t, state):
        return x_t, state, None


class Doubled(mr.Dense):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mr.RNN(3, 4, activation="sigmoid"), "activation='sigmoid' of RNN"),
        (mr.GRU(3, 4, reset_after=False), "reset_after=False of GRU"),
        (
            mr.Sequential([mr.Dense(3, 3), mr.LSTM(3, 4, stateful=True)]),
            r"stateful=True of layer 1 \(LSTM",
        ),
        (mr.Recurrent(OwnCell()), "OwnCell"),
        (mr.Recurrent(Warm(3, 4)), "Warm computes something of its own"),
        (mr.Dropout(0.5, shared_over_time=True), "shared_over_time=True of Dropout"),
        (mr.Sequential([mr.Tanh(), Doubled(3, 4)]), r"layer 1 \(Doubled\) has no"),
    ],
)
def test_what_pytorch_has_not(model, message):
    with pytest.raises(ConversionError, match=message):
        to_torch(model, verify=False)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.LSTM(3, 4, proj_size=2), "proj_size=2"),
        (nn.Sequential(nn.Linear(3, 4), nn.Mish()), r"1 \(Mish\)"),
        (nn.Softmax(dim=1), "dim=1"),
        (nn.GELU(), "approximate='none'"),
        (nn.Embedding(3, 4, max_norm=1.0), "max_norm"),
        (nn.Linear(3, 4, dtype=torch.float16), "float16"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), "parametrised"),
        (Skips(), "Skips"),
        (Hidden(), "rnn in the forward of Hidden .* initial states other than zeros"),
        (Encoded(), "rnn_1 in the forward .* initial states other than zeros"),
        (KeepsTheAxis(), "mean in the forward .* 'keepdim'"),
        (Cells(), "getitem.* in the forward"),
        (OneEnd(), "the final state of the second of two directions"),
        (TwoInputs(), "lengths in the forward"),
        (nn.Softplus(threshold=1), "threshold=1 of Softplus"),
        (SoftplusOf(3, 3), "threshold=1.0"),
        (AllStates(), "output in the forward .* for the axes directions, batch, features"),
        (hooked(nn.Linear(3, 4)), "Linear .* has a hook"),
        (nn.Sequential(replaced(nn.Linear(3, 4))), r"0 \(Linear\) .* another forward"),
        (nn.Sequential(hooked(nn.Sequential(nn.Linear(3, 4)))), r"0 \(Sequential\) .* has a hook"),
        (nn.Identity(), "holds no layer"),
    ],
)
def test_what_minirnn_has_not(module, message):
    with pytest.raises(ConversionError, match=message):
        from_torch(module, verify=False)


def test_what_reading_does_not_see_is_found_by_the_comparison():
    class Alternates(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return torch.tanh(x) if self.calls == 1 else torch.relu(x)

    with pytest.raises(ConversionError, match="differ by"):
        from_torch(Alternates(3, 3))


@pytest.mark.parametrize("training", [False, True])
def test_dropout_as_a_function(training):
    class Drops(nn.Module):
        def __init__(self, *arguments, **keywords):
            super().__init__()
            self.head = nn.Linear(3, 2)
            self.arguments, self.keywords = arguments, keywords

        def forward(self, x):
            x = nn.functional.dropout(x, *self.arguments, **self.keywords)
            return self.head(x)

    class DropsInTraining(Drops):
        def forward(self, x):
            return self.head(nn.functional.dropout(x, 0.3, training=self.training))

    module = DropsInTraining().train(training)
    assert from_torch(module, verify=False)[0].rate == 0.3
    assert module.training is module.head.training is training
    for always in (Drops(), Drops(0.3), Drops(0.3, True), Drops(p=0.3, training=True)):
        message = r"dropout in the forward of Drops .* without training=self\.training it drops in"
        with pytest.raises(ConversionError, match=message):
            from_torch(always.train(training), verify=False)


def test_the_layer_that_differs_is_named(monkeypatch):
    def swapped(kind, weights):
        return right(kind, {**weights, "b": weights["b"][::-1]})

    right = weights.to_torch_layout
    monkeypatch.setattr(weights, "to_torch_layout", swapped)
    model = disturb(mr.Sequential([mr.Dense(3, 3), mr.Sequential([mr.Tanh(), mr.GRU(3, 4)])]))
    with pytest.raises(ConversionError, match=r"first to differ is layer 1\.1 \(GRU\)"):
        to_torch(model)


def test_not_a_number_is_a_difference():
    model = mr.Dense(2, 2)
    module = to_torch(model, verify=False)
    model.W.value[0, 0] = np.nan
    with pytest.raises(ConversionError, match="differ by inf"):
        prove("to_torch", model, run_of(module))


def test_weights_that_do_not_fit_change_nothing():
    model = disturb(mr.Sequential([mr.LSTM(3, 4), mr.Dense(4, 2)]))
    before = model.state_dict()
    for module, message in [
        (
            nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 3)),
            r"1 do not fit layer 1 .* it has bias \(2,\), weight \(2, 4\), got .* weight \(3, 4\)$",
        ),
        (nn.LSTM(3, 4), "1 layers .* the model has 2"),
        (
            nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2, bias=False)),
            r"it has bias \(2,\), weight \(2, 4\), got weight \(2, 4\)$",
        ),
        (nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 2)), r"has bias_hh \(16,\), .* got bias_hh \(12"),
        (nn.Sequential(nn.LSTM(3, 4, proj_size=2), nn.Linear(2, 2)), "got .*weight_hr"),
    ]:
        with pytest.raises(ConversionError, match=message):
            load_torch(model, module.state_dict())
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_neither_side_is_disturbed():
    model = disturb(mr.Sequential([mr.LSTM(3, 4), mr.Dropout(0.5, rng=0)]))
    model.forward(np.ones((2, 3, 3)))
    states = model[0].state, torch.get_rng_state()
    module = to_torch(model)
    assert model[0].state is states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert module.training
    module[0].weight_ih_l0.data.zero_()
    assert model[0].cell.Wx.value.any()
    model.backward(np.ones((2, 3, 4)))


def test_the_weights_travel_in_a_file(tmp_path):
    model = disturb(mr.Sequential([mr.GRU(3, 4), mr.Dense(4, 2)]))
    torch.save(to_torch(model).state_dict(), tmp_path / "weights.pt")
    fresh = mr.Sequential([mr.GRU(3, 4), mr.Dense(4, 2)])
    load_torch(fresh, torch.load(tmp_path / "weights.pt", weights_only=True))
    np.testing.assert_array_equal(fresh[0].cell.bn.value, model[0].cell.bn.value)


def test_layers_of_two_dtypes():
    model = mr.Sequential([mr.GRU(3, 4, dtype="float64"), mr.Dense(4, 2)])
    with pytest.raises(ConversionError, match=r"float32 \(layers.1.W\) and float64"):
        to_torch(model)


def test_the_package_alone_need_be_imported():
    """As ``torch.onnx`` and the like: a fresh interpreter has imported no room yet."""
    code = "import minirnn; print(minirnn.interop.torch.to_torch.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "to_torch\n"
    with pytest.raises(AttributeError, match=r"'minirnn\.interop' has no attribute 'jax'"):
        mr.interop.jax  # noqa: B018
