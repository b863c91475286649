"""Parameter and Layer."""

import copy

import numpy as np
import pytest

import minirnn as m
from minirnn import Layer, Parameter
from tests.contract import helpers


class Scale(Layer):
    def __init__(self, factor):
        self.w = Parameter(np.array([factor]))

    def forward(self, x):
        self.x = x
        return x * self.w.value

    def backward(self, grad):
        self.w.grad += (grad * self.x).sum()
        return grad * self.w.value


class Tree(Layer):
    """Parameters and layers everywhere: plain, in lists, tuples, dictionaries; one of them tied."""

    def __init__(self):
        self.first = Parameter(np.zeros(2))
        self.blocks = [Scale(1.0), (Scale(2.0), Parameter(np.zeros(3)))]
        self.tied = self.first
        self.heads = {"a": Scale(3.0), "b": [Parameter(np.zeros(4))]}
        self.note = "not a parameter"
        self.last = Scale(4.0)
        self.again = self.blocks[0]


NAMES = ["first", "blocks.0.w", "blocks.1.0.w", "blocks.1.1", "heads.a.w", "heads.b.0", "last.w"]


# ---------------------------------------------------------------- Parameter


def test_a_parameter_copies_what_it_is_given():
    array = np.array([1.0, 2.0])
    parameter = Parameter(array)
    array[0] = 99
    np.testing.assert_array_equal(parameter.value, [1, 2])
    assert (parameter.shape, parameter.size, parameter.decay) == ((2,), 2, True)
    assert np.all(parameter.grad == 0)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.zeros(2), np.float64),
        (np.zeros(2, np.float32), np.float32),
        (np.zeros(2, np.float16), np.float32),
        (np.arange(2), np.float32),
        ([1.0, 2.0], np.float32),
        (3.5, np.float32),
        (np.float64(3.5), np.float64),
    ],
)
def test_dtype_of_a_parameter(value, dtype):
    parameter = Parameter(value)
    assert parameter.value.dtype == parameter.grad.dtype == dtype
    np.testing.assert_array_equal(parameter.value, value)


@pytest.mark.parametrize("name", ["value", "grad"])
def test_assigning_copies_into_the_storage(name):
    parameter = Parameter(np.zeros((2, 2), np.float32))
    storage = getattr(parameter, name)
    new = np.array([[1.0, 2.0], [3.0, 4.0]])
    setattr(parameter, name, new)
    assert getattr(parameter, name) is storage
    assert storage.dtype == np.float32
    new[0, 0] = 99
    np.testing.assert_array_equal(storage, [[1, 2], [3, 4]])
    setattr(parameter, name, storage.T)  # a view of itself
    np.testing.assert_array_equal(storage, [[1, 3], [2, 4]])
    exec(f"parameter.{name} += 1", {"parameter": parameter})
    np.testing.assert_array_equal(storage, [[2, 4], [3, 5]])


@pytest.mark.parametrize("name", ["value", "grad"])
@pytest.mark.parametrize("new", [1.0, [1.0, 2.0], np.ones((1, 2)), np.ones((2, 2, 1))], ids=str)
def test_assigning_broadcasts_nothing(name, new):
    parameter = Parameter(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"Parameter: the .* should have shape \(2, 2\), got \("):
        setattr(parameter, name, new)
    assert np.all(getattr(parameter, name) == 0)


@pytest.mark.parametrize(
    "value", [None, "text", [None], 1j, object()], ids=lambda value: type(value).__name__
)
def test_a_parameter_holds_real_numbers(value):
    with pytest.raises(TypeError, match="Parameter: the value should"):
        Parameter(value)


def test_a_parameter_is_not_taken_for_its_numbers():
    weight, x = Parameter(np.ones((3, 2))), np.ones((4, 3))
    for run in (lambda: x @ weight, lambda: weight * x.T, lambda: np.tanh(weight)):
        with pytest.raises(TypeError, match=r"Parameter of shape \(3, 2\).*write \.value"):
            run()


def test_decay_is_yes_or_no():
    with pytest.raises(TypeError, match="Parameter: decay should be True or False, got 'False'"):
        Parameter([1.0], decay="False")


def test_zero_grad_and_repr():
    parameter = Parameter(np.zeros((2, 3)), decay=False)
    parameter.grad += 5
    parameter.zero_grad()
    assert np.all(parameter.grad == 0)
    assert repr(parameter) == "Parameter(shape=(2, 3), dtype=float64, decay=False)"


# ---------------------------------------------------------------- Layer


def test_names_follow_the_order_of_declaration_and_tied_objects_come_once():
    tree = Tree()
    assert [name for name, _ in tree.named_parameters()] == NAMES
    assert len({id(p) for p in tree.parameters()}) == len(NAMES)
    assert tree.parameter_count == 2 + 1 + 1 + 3 + 1 + 4 + 1
    assert [name for name, _ in tree.named_layers()] == [
        *("", "blocks.0", "blocks.1.0", "heads.a", "last"),
    ]


def test_zero_grad_reaches_every_parameter():
    tree = Tree()
    for parameter in tree.parameters():
        parameter.grad += 1
    tree.zero_grad()
    assert all(np.all(parameter.grad == 0) for parameter in tree.parameters())


def test_train_and_eval_reach_every_sublayer():
    tree = Tree()
    assert tree.training
    assert tree.eval() is tree
    assert [layer.training for _, layer in tree.named_layers()] == [False] * 5
    assert tree.train() is tree
    assert [layer.training for _, layer in tree.named_layers()] == [True] * 5
    assert Scale(1.0).training  # the class is as it was


def test_a_layer_that_holds_its_parent_is_no_endless_search():
    tree = Tree()
    tree.last.parent = tree
    assert [name for name, _ in tree.named_parameters()] == NAMES


def test_a_layer_that_holds_its_parent_is_trained():
    class Inner(m.Layer):
        def __init__(self, parent):
            self.parent, self.dense = parent, m.Dense(3, 2, rng=0)

        def forward(self, x):
            return self.dense.forward(x)

        def backward(self, grad):
            return self.dense.backward(grad)

    class Outer(Inner):
        def __init__(self):
            self.dense = Inner(self)

    model = m.Sequential([Outer()])
    model.forward(np.ones((4, 3), np.float32))
    model.backward_parameters(np.ones((4, 2), np.float32))
    np.testing.assert_array_equal(model[0].dense.dense.b.grad, [4, 4])


def test_a_layer_without_methods_says_so():
    with pytest.raises(NotImplementedError, match="Tree has no forward method"):
        Tree().forward(1)
    with pytest.raises(NotImplementedError, match="Tree has no backward method"):
        Tree().backward(1)


def test_own_layers_defaults():
    layer = Scale(3.0)
    np.testing.assert_array_equal(layer.step(np.ones((2, 1))), [[3], [3]])
    layer.forward(np.ones((2, 1)))
    assert layer.backward_parameters(np.ones((2, 1))) is None
    assert layer.w.grad == [2]
    layer.reset_state()
    assert (layer.uses_mask, layer.keeps_time) == (False, True)


def test_reset_state_reaches_layers_anywhere():
    class Holder(Layer):
        def __init__(self):
            self.inside = {"rnn": [m.RNN(3, 4, rng=0, stateful=True)]}

    holder = Holder()
    rnn = holder.inside["rnn"][0]
    rnn.forward(np.ones((2, 5, 3)))
    holder.reset_state()
    assert rnn.state is None
    assert rnn.forward(np.ones((7, 5, 3))).shape == (7, 5, 4)


# ---------------------------------------------------------------- state_dict


def test_state_dict_is_a_copy_and_loads_back_exactly():
    one = helpers.randomize(Tree(), 1)
    state = one.state_dict()
    assert list(state) == NAMES
    kept = {name: array.copy() for name, array in state.items()}
    for parameter in one.parameters():
        parameter.value += 1
        parameter.grad += 1
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[name])
    other = Tree()
    identities = [id(parameter.value) for parameter in other.parameters()]
    other.load_state_dict(state)
    for name, parameter in other.named_parameters():
        np.testing.assert_array_equal(parameter.value, kept[name])
    assert [id(parameter.value) for parameter in other.parameters()] == identities


def test_load_state_dict_lists_all_problems_and_loads_nothing():
    model = m.Sequential([m.Dense(3, 2, rng=0), m.LSTM(2, 4, rng=1)])
    state = {name: array + 1 for name, array in model.state_dict().items()}
    state["layers.0.bias"] = state.pop("layers.0.b")
    state["extra"] = np.zeros(1)
    state["layers.1.cell.Wx"] = np.zeros((2, 12))
    state["layers.0.W"] = np.zeros((2, 3))
    before = helpers.snapshot(model)
    with pytest.raises(ValueError, match="Sequential: the weights do not fit") as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for expected in [
        "nothing was loaded",
        "missing: layers.0.b (2,)",
        "unexpected: layers.0.bias",
        "unexpected: extra",
        "misshapen: layers.1.cell.Wx should be (2, 16), got (2, 12)",
        "misshapen: layers.0.W should be (3, 2), got (2, 3)",
    ]:
        assert expected in message
    helpers.assert_same(before, helpers.snapshot(model))


def test_load_state_dict_refuses_what_is_no_dictionary_of_numbers():
    layer = m.Dense(3, 2, rng=0)
    before = helpers.snapshot(layer)
    with pytest.raises(TypeError, match="Dense: load_state_dict takes a dictionary.*got list"):
        layer.load_state_dict([layer.W.value])
    with pytest.raises(TypeError, match="Dense: b should hold real numbers"):
        layer.load_state_dict({"W": np.zeros((3, 2)), "b": np.array(["x", "y"])})
    helpers.assert_same(before, helpers.snapshot(layer))


def test_load_state_dict_casts_to_the_layers_dtype():
    layer = m.Dense(3, 2, rng=0)
    layer.load_state_dict(m.Dense(3, 2, rng=1, dtype=np.float64).state_dict())
    assert layer.W.value.dtype == np.float32
    np.testing.assert_array_equal(layer.W.value, m.Dense(3, 2, rng=1).W.value)


# ---------------------------------------------------------------- deepcopy, repr


def test_a_deep_copy_keeps_ties_and_shares_nothing():
    tree = helpers.randomize(Tree(), 1)
    twin = copy.deepcopy(tree)
    assert twin.tied is twin.first
    assert twin.again is twin.blocks[0]
    before = helpers.snapshot(tree)
    for parameter in twin.parameters():
        parameter.value += 1
        parameter.grad += 1
    helpers.assert_same(before, helpers.snapshot(tree))


REPRS = {
    "Dense(input_size=3, output_size=2)": m.Dense(3, 2),
    "Dense(input_size=3, output_size=2, bias=False)": m.Dense(3, 2, bias=False),
    "Embedding(vocabulary_size=7, output_size=2)": m.Embedding(7, 2),
    "Dropout(rate=0.25)": m.Dropout(0.25),
    "LSTMCell(input_size=3, hidden_size=4)": m.LSTMCell(3, 4),
    "GRUCell(input_size=3, hidden_size=4, reset_after=False)": m.GRUCell(3, 4, reset_after=False),
    "LSTM(input_size=3, hidden_size=4, stateful=True)": m.LSTM(3, 4, stateful=True),
    "ReLU()": m.ReLU(),
    "SoftmaxCrossEntropy()": m.SoftmaxCrossEntropy(),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr_shows_what_the_layer_was_made_of(text):
    assert repr(REPRS[text]) == text


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(m.RNN(3, 4, activation="relu"), "relu"), (m.GRU(3, 4, reset_after=False), "reset_after=")],
)
def test_repr_of_a_recurrent_layer_shows_the_cells_keywords(layer, expected):
    assert expected in repr(layer)


def test_a_layer_and_a_loss_may_be_called():
    layer, x = m.GRU(3, 4, rng=0), np.ones((2, 5, 3))
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    np.testing.assert_array_equal(layer(x, mask=mask), layer.forward(x, mask))
    loss = m.MeanSquaredError()
    assert loss(np.ones((2, 3)), np.zeros((2, 3))) == 1
    np.testing.assert_allclose(loss.backward(), 1 / 3)


def test_what_completion_offers_is_public_and_is_there():
    names = dir(m)
    assert {*m.__all__, "engine", "interop", "training"} <= {*names}
    assert not {"Any", "TYPE_CHECKING", "annotations", "import_module"} & {*names}
    assert all(hasattr(m, name) for name in names)
