"""The numbers that the articles print, from this library: to the digit where they are arithmetic."""

import math

import numpy as np
import pytest

from nncore import (
    SGD,
    Layer,
    NeuralNetwork,
    SimpleNet,
    TwoLayerNet,
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_error,
    entropy,
    gradient_descent,
    information_content,
    load_mnist,
    load_moons,
    log_softmax,
    mean_squared_error,
    negative_log_likelihood,
    numerical_diff,
    numerical_gradient,
    one_hot,
    sigmoid,
    softmax,
)

# Probabilities of ten digits; the digit is a 2.
SAYS_2 = [0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]
SAYS_7 = [0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0]
TRUTH = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


def bowl(x):
    return np.sum(x**2)


def parabola(x):
    return 0.01 * x**2 + 0.1 * x


# ---- losses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "expected"), [(SAYS_2, 0.09750000000000003), (SAYS_7, 0.5975)])
def test_squared_error_of_ten_classes(y, expected):
    assert mean_squared_error(y, TRUTH) == expected
    assert mean_squared_error(np.array(y), one_hot(2, 10)) == expected


@pytest.mark.parametrize(("y", "expected"), [(SAYS_2, 0.510825457099338), (SAYS_7, 2.302584092994546)])
def test_cross_entropy_of_ten_classes(y, expected):
    assert cross_entropy_error(y, TRUTH) == expected
    assert cross_entropy_error(y, 2) == expected, "as a label"
    assert cross_entropy_error([y], [TRUTH]) == expected, "a batch of one"
    assert cross_entropy_error([y], [2]) == expected
    assert cross_entropy_error(y, TRUTH) == -np.log(y[2] + 1e-7)


def test_cross_entropy_of_a_batch_is_the_mean():
    batch, labels = [SAYS_2, SAYS_7, SAYS_2], [2, 2, 0]
    singles = [cross_entropy_error(y, t) for y, t in zip(batch, labels, strict=True)]
    expected = pytest.approx(sum(singles) / 3, rel=1e-15)
    assert cross_entropy_error(batch, labels) == expected
    assert cross_entropy_error(batch, one_hot(labels, 10)) == expected


def test_one_hot():
    assert one_hot(2, 10).tolist() == TRUTH
    assert one_hot([1, 0, 2]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert one_hot([1, 0], 4).shape == (2, 4)
    assert one_hot([[1, 0]], 3).shape == (1, 2, 3)


# ---- slopes --------------------------------------------------------------------------------------------------


def test_slopes_of_the_parabola():
    assert numerical_diff(parabola, 5) == 0.1999999999990898
    assert numerical_diff(parabola, 10) == 0.2999999999986347
    # forward: the truncation error is h f''/2 = 1e-6
    assert numerical_diff(parabola, 5, method="forward") == pytest.approx(0.2 + 1e-6, abs=1e-10)


def test_a_step_too_small_vanishes():
    assert np.float32(1e-50) == 0
    for method in ("central", "forward"):
        assert numerical_diff(parabola, 5, h=10e-50, method=method) == 0.0


def test_partial_derivatives():
    assert numerical_diff(lambda x0: x0 * x0 + 4.0**2.0, 3.0) == 6.00000000000378
    assert numerical_diff(lambda x1: 3.0**2.0 + x1 * x1, 4.0) == 7.999999999999119


@pytest.mark.parametrize("point", [(3.0, 4.0), (0.0, 2.0), (3.0, 0.0)])
@pytest.mark.parametrize("h", [1e-4, None])
def test_gradient_of_the_bowl(point, h):
    # rounding: eps * f / h, where f is at most 25 and the default step about 6e-6 times |x|
    np.testing.assert_allclose(numerical_gradient(bowl, np.array(point), h), 2 * np.array(point), atol=1e-9)


def test_gradient_descent_of_the_bowl():
    x, path = gradient_descent(bowl, np.array([-3.0, 4.0]), lr=0.1, step_num=100, return_path=True)
    np.testing.assert_allclose(x, [-6.11110793e-10, 8.14814391e-10], rtol=1e-6)
    np.testing.assert_allclose(x, 0.8**100 * np.array([-3, 4]), rtol=1e-6)
    assert path.shape == (101, 2)
    np.testing.assert_allclose(path, 0.8 ** np.arange(101)[:, None] * [-3.0, 4.0], rtol=1e-6)


def test_gradient_descent_diverges_or_stands_still():
    assert abs(gradient_descent(bowl, [-3.0, 4.0], lr=10.0, step_num=100)).min() > 1e10
    np.testing.assert_allclose(gradient_descent(bowl, [-3.0, 4.0], lr=1e-10), [-2.99999994, 3.99999992], rtol=1e-9)


# ---- networks ------------------------------------------------------------------------------------------------


def test_simple_net():
    net = SimpleNet(W=[[0.47355232, 0.9977393, 0.84668094], [0.85557411, 0.03563661, 0.69422093]])
    x, t = np.array([0.6, 0.9]), np.array([0, 0, 1])
    np.testing.assert_allclose(net.predict(x), [1.05414809, 0.63071653, 1.1328074], atol=5e-9)
    assert np.argmax(net.predict(x)) == 2
    # Published without the 1e-7 in the logarithm: with it the gradient is p / (p + 1e-7) times theirs.
    loss, p = 0.92806853663411326, math.exp(-0.92806853663411326)
    assert loss - net.loss(x, t) == pytest.approx(1e-7 / p, abs=2e-8), "the weights have eight digits"
    before = net.W.copy()
    dW = numerical_gradient(lambda W: net.loss(x, t), net.W)
    np.testing.assert_array_equal(net.W, before)
    published = np.array([[0.21924763, 0.14356247, -0.36281009], [0.32887144, 0.2153437, -0.54421514]])
    np.testing.assert_allclose(dW, published * p / (p + 1e-7), atol=2e-8)
    np.testing.assert_allclose(net.gradient(x, t), dW, atol=1e-9)


SHAPES = {"W1": (784, 100), "b1": (100,), "W2": (100, 10), "b2": (10,)}


def test_two_layer_net_shapes_and_gradients():
    net = TwoLayerNet(input_size=784, hidden_size=100, output_size=10, rng=0)
    rng = np.random.default_rng(1)
    x, t = rng.random((100, 784)), one_hot(rng.integers(10, size=100), 10)
    assert net.predict(x).shape == (100, 10)
    numerical, exact = net.numerical_gradient(x, t), net.gradient(x, t)
    for values in (net.params, numerical, exact):
        assert {name: value.shape for name, value in values.items()} == SHAPES
    for name, dp in exact.items():
        # truncation: h**2 / 6 times a third derivative below 1; rounding: eps times the loss of 2.3, over h, is less
        np.testing.assert_allclose(numerical[name], dp, atol=2e-9)
        assert abs(dp).max() > 1e-4


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
def test_activations_and_derivatives_of_the_output(activation):
    layer = Layer(1, 1, activation, weights=[[1.0]], bias=[0.0])
    a = np.array([[-2.0], [-0.5], [0.5], [3.0]])
    z = layer.activate(a)
    f = {None: lambda v: v, "relu": lambda v: max(v, 0.0), "tanh": math.tanh, "sigmoid": sigmoid}[activation]
    np.testing.assert_allclose(z[:, 0], [f(v) for v in a[:, 0]], rtol=1e-14)
    slopes = [numerical_diff(f, v, 1e-5) for v in a[:, 0]]
    np.testing.assert_allclose(layer.apply_activation_derivative(z)[:, 0], slopes, atol=1e-9)


def test_moons():
    (x_train, t_train), (x_test, t_test) = load_moons()
    assert x_train.shape == (1400, 2)
    assert x_test.shape == (600, 2)
    net = NeuralNetwork(rng=0)
    for n_in, n_out in ((2, 25), (25, 50), (50, 25), (25, 2)):
        net.add_layer(Layer(n_in, n_out, "sigmoid"))
    mses, accuracies = net.train(x_train, x_test, t_train, t_test, learning_rate=0.01, max_epochs=1000)
    assert len(mses) == len(accuracies) == 100
    assert accuracies[-1] >= 0.97
    assert mses[-1] == pytest.approx(0.025, abs=0.002)


def published_xor(W1, W2, iterations=1500):
    """The published loop over exclusive or; returns the sums of squares before each update and the last outputs."""
    W1, W2, sums = W1.copy(), W2.copy(), []
    for i in range(iterations + 1):
        hidden = 1 / (1 + np.exp(-(XOR_X @ W1)))
        output = 1 / (1 + np.exp(-(hidden @ W2)))
        if i == iterations:
            return np.array(sums), output, W1, W2
        sums.append(np.sum((XOR_Y - output) ** 2))
        delta = 2 * (XOR_Y - output) * output * (1 - output)
        dW2, dW1 = hidden.T @ delta, XOR_X.T @ (delta @ W2.T * hidden * (1 - hidden))
        W1 += dW1
        W2 += dW2


XOR_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
XOR_Y = np.array([[0.0], [1.0], [1.0], [0.0]])


@pytest.mark.parametrize("by", ["fit", "backpropagation"])
def test_exclusive_or_is_the_published_loop(by):
    rng = np.random.default_rng(0)
    W1, W2 = rng.random((3, 4)), rng.random((4, 1))
    net = NeuralNetwork(
        [Layer(3, 4, "sigmoid", weights=W1, use_bias=False), Layer(4, 1, "sigmoid", weights=W2, use_bias=False)]
    )
    assert list(net.params) == ["W1", "W2"]
    sums, output, W1, W2 = published_xor(W1, W2)
    # the loss is half the mean of the four squares: an eighth of the sum, so lr 8 makes the published step of 1
    if by == "fit":
        history = net.fit(XOR_X, XOR_Y, optimizer=SGD(lr=8), batch_size=4, iterations=1500, sampling="sequential")
        np.testing.assert_allclose(8 * history.loss, sums, atol=1e-10)
        assert (np.diff(history.loss) < 0).all()
    else:
        for _ in range(1500):
            net.backpropagation(XOR_X, XOR_Y, 8.0)
    np.testing.assert_allclose(net.params["W1"], W1, atol=1e-10)
    np.testing.assert_allclose(net.params["W2"], W2, atol=1e-10)
    np.testing.assert_allclose(net.predict(XOR_X), output, atol=1e-10)
    assert abs(net.predict(XOR_X) - XOR_Y).max() < 0.05


# ---- MNIST ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist(mnist_dir):
    return load_mnist(normalize=True, one_hot_label=True, data_dir=mnist_dir)


def test_the_book_s_loop_learns_mnist(mnist):
    (x_train, t_train), (x_test, t_test) = mnist
    net = TwoLayerNet(784, 50, 10, rng=0)
    rng, losses = np.random.default_rng(0), []
    assert net.accuracy(x_test, t_test) < 0.3
    for _ in range(1200):
        mask = rng.choice(len(x_train), 100)
        x, t = x_train[mask], t_train[mask]
        grad = net.gradient(x, t)
        for key in ("W1", "b1", "W2", "b2"):
            net.params[key] -= 0.1 * grad[key]
        losses.append(net.loss(x, t))
    assert np.mean(losses[:10]) == pytest.approx(math.log(10), abs=0.05)
    assert np.mean(losses[-100:]) < 0.6
    assert net.accuracy(x_test, t_test) > 0.86


def test_fit_learns_mnist_as_the_book_s_loop_does(mnist):
    (x_train, t_train), test = mnist
    net = TwoLayerNet(784, 50, 10, rng=0)
    history = net.fit(
        x_train, t_train, optimizer=SGD(lr=0.1), batch_size=100, iterations=1800, sampling="replacement",
        validation_data=test, n_threads=1, rng=0,
    )  # fmt: skip
    assert history.epoch_ends == [600, 1200, 1800]
    assert history.test_accuracy[-1] > 0.89
    assert history.test_accuracy == sorted(history.test_accuracy)
    assert history.train_accuracy[-1] == net.accuracy(x_train, t_train)


# ---- cross-entropy and information ---------------------------------------------------------------------------


def test_two_ways_of_cross_entropy_agree(rng):
    scores, labels = 3 * rng.standard_normal((20, 5)), rng.integers(5, size=20)
    picked = negative_log_likelihood(log_softmax(scores), labels)
    assert picked == pytest.approx(cross_entropy_error(softmax(scores), labels, delta=0), rel=1e-13)
    by_hand = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(20), labels])
    assert picked == pytest.approx(by_hand, rel=1e-13)
    net = NeuralNetwork([Layer(5, 5, weights=np.eye(5), use_bias=False)], loss="softmax_cross_entropy")
    assert net.loss(scores, labels) == pytest.approx(by_hand, rel=1e-13), "and the network's loss is the same"


def test_binary_cross_entropy():
    by_hand = -(math.log(0.9) + math.log(1 - 0.2) + math.log(0.6)) / 3
    assert binary_cross_entropy([0.9, 0.2, 0.6], [1, 0, 1]) == pytest.approx(by_hand, rel=1e-14)
    assert binary_cross_entropy([0.0, 1.0], [1, 0]) == pytest.approx(-math.log(1e-7), rel=1e-9), "clipped"
    assert binary_cross_entropy([1.0, 0.0], [1, 0]) == pytest.approx(1e-7, rel=1e-6)
    assert binary_cross_entropy([0.0], [1], eps=0.25) == math.log(4)


def test_information_of_two_archers():
    first, second = [0.9, 0.1], [0.99, 0.01]  # miss, hit
    assert information_content(0.1) == pytest.approx(math.log2(10), rel=1e-14)
    assert information_content(0.01) == pytest.approx(2 * math.log2(10), rel=1e-14)
    assert information_content(0.99) == pytest.approx(-math.log2(0.99), rel=1e-12)
    assert entropy(first) == pytest.approx(-0.9 * math.log2(0.9) - 0.1 * math.log2(0.1), rel=1e-14)
    assert entropy(first) == pytest.approx(0.4689955935892812, rel=1e-14)
    assert entropy(second) == pytest.approx(0.08079313589591118, rel=1e-13)
    crossed = -0.9 * math.log2(0.99) - 0.1 * math.log2(0.01)
    assert cross_entropy(first, second) == pytest.approx(crossed, rel=1e-14)
    assert cross_entropy(first, second) > entropy(first)
    assert cross_entropy(first, first) == entropy(first)
    assert entropy(first, base=math.e) == pytest.approx(entropy(first) * math.log(2), rel=1e-14)
