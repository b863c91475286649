"""Conversions to Keras 3 and back."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch, the backend that the tests run Keras on")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")

import minirnn as mr  # noqa: E402
from minirnn.interop.counterparts import ConversionError  # noqa: E402
from minirnn.interop.keras import from_keras, load_keras, to_keras  # noqa: E402
from minirnn.interop.weights import KERAS  # noqa: E402
from minirnn.layers import LastState, LogSoftmax, MaxOverTime, MeanOverTime  # noqa: E402
from minirnn.layers.normalization import LayerNorm  # noqa: E402
from minirnn.layers.rectifiers import ELU, LeakyReLU, SiLU, Softplus  # noqa: E402
from tests.interop.models import disturb, everywhere, not_in_torch  # noqa: E402

DTYPES = ["float32", "float64"]
kl = keras.layers


def models(dtype):
    kw = {"dtype": dtype}
    return (
        everywhere(dtype)
        | not_in_torch(dtype)
        | {
            "sum": mr.Bidirectional(mr.GRU(3, 4, **kw), mr.RNN(3, 4, **kw), merge="sum"),
            "mean of both": mr.Bidirectional(
                mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw), merge="mean"
            ),
            "product": mr.Sequential(
                [
                    mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw), merge="product"),
                    MeanOverTime(),
                ]
            ),
            "both ends": mr.Sequential(
                [mr.Bidirectional(mr.GRU(3, 4, **kw), mr.GRU(3, 4, **kw)), LastState()]
            ),
            "backwards": mr.Sequential([mr.LSTM(3, 4, reverse=True, **kw), LastState()]),
            "tagger": mr.Sequential(
                [
                    mr.Embedding(9, 3, **kw),
                    mr.Dropout(0.5, shared_over_time=True),
                    mr.Sequential(
                        [
                            mr.Bidirectional(mr.GRU(3, 4, **kw), mr.GRU(3, 4, **kw)),
                            mr.LSTM(8, 5, **kw),
                        ]
                    ),
                    LayerNorm(5, epsilon=1e-3, **kw),
                    mr.Dense(5, 2, **kw),
                    mr.Softmax(),
                ]
            ),
            "classifier": mr.Sequential(
                [
                    mr.Dense(3, 4, bias=False, **kw),
                    mr.Tanh(),
                    mr.RNN(4, 5, **kw),
                    mr.LastStep(),
                    mr.ReLU(),
                    mr.Dropout(0.5),
                    mr.Dense(5, 1, **kw),
                    mr.Sigmoid(),
                ]
            ),
            "mean": mr.Sequential([mr.GRU(3, 4, **kw), LeakyReLU(0.2), ELU(0.5), MeanOverTime()]),
            "rectified": mr.Sequential([mr.GRU(3, 4, **kw), SiLU(), Softplus(), LogSoftmax()]),
        }
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", models("float32"))
def test_there_and_back(name, dtype, capsys):
    model = disturb(models(dtype)[name])
    twin = to_keras(model, mask_zero=name == "tagger")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "from_keras: .* makes a mask")
        again = from_keras(twin)
    fresh = disturb(models(dtype)[name], seed=1)
    load_keras(fresh, twin.get_weights())
    masked = 2 if name == "tagger" else 3  # load_keras does not know that 0 is padding
    assert capsys.readouterr().out.count("in 6 runs") == masked
    for other in (again, fresh):
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            np.testing.assert_array_equal(one.value, two.value)
            assert one.value.dtype == two.value.dtype == dtype


@pytest.mark.parametrize("mode", ["sum", "ave", "mul"])
def test_final_states_of_both_directions_merged(mode):
    layer = kl.Bidirectional(kl.GRU(4), merge_mode=mode)
    model = keras.Sequential([keras.Input((None, 3)), layer, kl.Dense(2)])
    ours = from_keras(model)
    assert [type(part).__name__ for part in ours] == ["Parallel", "Dense"]


def test_a_model_that_makes_its_mask_from_the_input():
    model = keras.Sequential([keras.Input((None, 3)), kl.Masking(-1.0), kl.LSTM(4), kl.Dense(2)])
    with pytest.warns(UserWarning, match="masking.* makes a mask"):
        assert [type(part).__name__ for part in from_keras(model)] == ["LSTM", "LastState", "Dense"]


def test_a_mask_with_holes():
    model = disturb(models("float64")["bidirectional"])
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((4, 6, 3)), rng.random((4, 6)) < 0.6
    mask[:, 1] = True
    y = keras.ops.convert_to_numpy(
        to_keras(model)(keras.ops.array(x, "float64"), mask=keras.ops.array(mask))
    )
    np.testing.assert_allclose(y[mask], model.forward(x, mask)[mask], atol=1e-6)


def test_a_saved_model_is_keras_alone(tmp_path):
    model = disturb(models("float32")["tagger"])
    to_keras(model).save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    again = from_keras(twin)
    tokens = np.array([[1, 2, 3]])
    np.testing.assert_allclose(again.predict(tokens), model.predict(tokens), atol=1e-6)


def test_functional_dropout_inside_and_time_distributed():
    tokens = keras.Input((None,), dtype="int32")
    x = kl.Embedding(7, 3, mask_zero=True)(tokens)
    x = kl.LSTM(4, dropout=0.3, return_sequences=True, use_bias=False)(x)
    x = kl.TimeDistributed(kl.Dense(5, activation="relu"))(x)
    x = kl.Bidirectional(kl.GRU(2, use_bias=False))(x)
    model = keras.Model(tokens, kl.Dense(3, activation="softmax")(x))
    with pytest.warns(UserWarning, match="hand it to the model here"):
        ours = from_keras(model)
    kinds = [type(layer).__name__ for layer in ours]
    assert kinds == [
        "Embedding", "Dropout", "LSTM", "Dense", "ReLU", "Bidirectional", "LastState", "Dense",
        "Softmax",
    ]  # fmt: skip
    x = np.array([[3, 1, 2, 0, 0], [1, 6, 4, 2, 5]])
    theirs = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(ours.predict(x, mask=x != 0), theirs, atol=1e-5)


class Warm(mr.GRUCell):
    def initial_state(self, batch_size):
        return (np.ones((batch_size, self.hidden_size), np.float32),)


class Doubled(mr.Dense):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mr.Sequential([mr.Tanh(), Doubled(3, 4)]), r"layer 1 \(Doubled\)"),
        (mr.LSTM(3, 4, stateful=True), "stateful=True of LSTM"),
        (mr.Sequential([mr.GRU(3, 4, reverse=True), mr.Tanh()]), r"reverse=True of layer 0 \(GRU"),
        (mr.Sequential([mr.Dense(3, 4), mr.LastStep()]), "return_sequences=False"),
        (mr.Sequential([mr.GRU(3, 4), MaxOverTime()]), "MaxOverTime"),
        (mr.Bidirectional(mr.RNN(3, 2), mr.RNN(3, 7)), "same number of units"),
        (mr.Recurrent(Warm(3, 4)), "Warm computes something of its own"),
    ],
)
def test_what_keras_has_not(model, message):
    with pytest.raises(ConversionError, match=message):
        to_keras(model, verify=False)


def sequential(*layers):
    return keras.Sequential([keras.Input((None, 3)), *layers])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([kl.LSTM(4, recurrent_activation="hard_sigmoid")], "activations other than"),
        ([kl.LSTM(4, recurrent_dropout=0.5)], "recurrent_dropout=0.5"),
        ([kl.GRU(4, go_backwards=True, return_sequences=True)], "in reverse"),
        ([kl.Conv1D(4, 3, name="convolution")], r"convolution \(Conv1D\)"),
        ([kl.Dense(4, activation="gelu")], "activation=.*gelu"),
        ([kl.Dense(4, activation=kl.LeakyReLU(0.2))], "activation=.*LeakyReLU"),
        ([kl.GlobalAveragePooling1D(data_format="channels_first")], "data_format='channels_first'"),
        ([kl.Dropout(0.5, noise_shape=(None, 1, None))], "noise_shape"),
        ([kl.ReLU(max_value=1.0)], "max_value=1.0"),
        (
            [kl.Bidirectional(kl.LSTM(4, go_backwards=True), backward_layer=kl.LSTM(4))],
            "go_backwards of its forward layer",
        ),
        ([kl.TimeDistributed(kl.Dropout(0.5))], "TimeDistributed.* of Dropout"),
    ],
)
def test_what_minirnn_has_not(layers, message):
    with pytest.raises(ConversionError, match=message):
        from_keras(sequential(*layers), verify=False)


def test_a_normalization_without_a_mean():
    layer = kl.LayerNormalization()
    model = sequential(layer)
    layer.rms_scaling = True  # as an argument, it warns that it is deprecated
    with pytest.raises(ConversionError, match="no mean"):
        from_keras(model, verify=False)


def test_rectifiers_and_softmax():
    layers = kl.ReLU(), kl.ReLU(negative_slope=0.25), kl.LeakyReLU(0.5), kl.Softmax()
    ours = from_keras(sequential(*layers))
    kinds = [type(layer).__name__ for layer in ours]
    assert kinds == ["ReLU", "LeakyReLU", "LeakyReLU", "Softmax"]
    assert [ours[1].slope, ours[2].slope] == [0.25, 0.5]


def test_an_activation_of_a_users_own_that_is_named_like_one_of_keras():
    def tanh(x):
        return 2 * x

    with pytest.raises(ConversionError, match="activation=.*function"):
        from_keras(sequential(kl.Dense(4, activation=tanh)), verify=False)


def test_a_second_output():
    x = keras.Input((None, 3))
    y = kl.LSTM(4, return_sequences=True)(x)
    with pytest.raises(ConversionError, match="several outputs"):
        from_keras(keras.Model(x, [y, kl.Dense(2)(y)]), verify=False)


@pytest.mark.parametrize("state", [keras.ops.ones((1, 3)), "of the input"])
def test_initial_states(state):
    x = keras.Input((4, 3))
    y = kl.GRU(3)(x, initial_state=x[:, 0] if isinstance(state, str) else state)
    with pytest.raises(ConversionError, match=r"\(GRU\) .* it is given initial states"):
        from_keras(keras.Model(x, y), verify=False)


def test_a_model_of_a_users_own():
    class Doubles(keras.Sequential):
        def call(self, x, **options):
            return 2 * super().call(x, **options)

    with pytest.raises(ConversionError, match=r"\(Doubles\) has no counterpart"):
        from_keras(Doubles([keras.Input((None, 3)), kl.Dense(2)]), verify=False)


def test_models_in_models_with_a_fixed_number_of_steps(capsys):
    x, z = keras.Input((4, 3)), keras.Input((4, 3))
    inner = keras.Model(x, kl.GRU(3, return_sequences=True)(x))
    ours = from_keras(keras.Model(z, kl.Dense(2)(inner(z))))
    assert [type(part).__name__ for part in ours] == ["GRU", "Dense"]
    assert "in 6 runs" in capsys.readouterr().out  # three batch sizes, with a mask and without


def test_weights_that_are_not_all():
    layer = kl.Dense(2)
    model = sequential(layer)
    layer.enable_lora(1)
    with pytest.raises(ConversionError, match="LoRA"):
        from_keras(model, verify=False)


def test_token_0_is_padding_for_an_embedding_only():
    with pytest.raises(ConversionError, match="begins with Embedding"):
        to_keras(mr.GRU(3, 4), mask_zero=True)


def test_a_model_that_branches():
    x = keras.Input((None, 3))
    model = keras.Model(x, kl.Add()([kl.Dense(3)(x), x]))
    with pytest.raises(ConversionError, match=r"\(Add\) has no counterpart"):
        from_keras(model)


def test_the_layer_that_differs_is_named(monkeypatch):
    monkeypatch.setitem(KERAS, "gru", "rzn")
    model = disturb(mr.Sequential([mr.Dense(3, 3), mr.Sequential([mr.Tanh(), mr.GRU(3, 4)])]))
    with pytest.raises(ConversionError, match=r"first to differ is layer 1\.1 \(GRU\)"):
        to_keras(model)


def test_weights_that_do_not_fit_change_nothing():
    model = disturb(mr.Sequential([mr.LSTM(3, 4), mr.Dense(4, 2)]))
    before = model.state_dict()
    with pytest.raises(ConversionError, match="shapes"):
        load_keras(model, sequential(kl.LSTM(4), kl.Dense(3)).get_weights())
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_without_keras_the_error_says_what_to_install():
    code = "import sys; sys.modules['keras'] = None; import minirnn.interop.keras"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install ".[keras]"' in run.stderr
