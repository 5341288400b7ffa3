"""nncore: dense neural networks on a CPU at C speed, and their gradients checked element by element.

Names are loaded on first use: ``import nncore`` imports nothing but NumPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULE_OF = {
    name: module
    for module, names in {
        "_dispatch": ["show_config"],
        "functions": [
            "binary_cross_entropy", "cross_entropy", "cross_entropy_error", "elu", "entropy", "gelu", "hard_sigmoid",
            "identity", "information_content", "leaky_relu", "log_softmax", "mean_squared_error",
            "negative_log_likelihood", "one_hot", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "tanh",
        ],
        "gradient": [
            "gradient_descent", "numerical_diff", "numerical_gradient", "numerical_hessian", "numerical_jacobian",
        ],
        "_detailed": ["GradientInfo"],
        "report": ["GradientMismatch", "GradientReport"],
        "gradcheck": ["check_gradient"],
        "layers": ["Layer"],
        "network": ["NeuralNetwork"],
        "book": ["SimpleNet", "TwoLayerNet"],
        "_notices": ["InterruptWarning"],
        "optimizers": ["LBFGS", "SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "RMSprop"],
        "schedules": [
            "Constant", "Cosine", "Exponential", "InverseScaling", "Linear", "ReduceOnPlateau", "Schedule", "Step",
            "WarmUp",
        ],
        "metrics": ["EarlyStopping"],
        "callbacks": ["CSVLog", "PlotHistory", "TensorBoard", "TimeLimit"],
        "history": ["History"],
        "population": ["fit_many"],
        "estimators": ["MLPClassifier", "MLPRegressor"],
        "datasets": ["load_digits", "load_fashion_mnist", "load_mnist", "load_moons"],
    }.items()
    for name in names
}  # fmt: skip

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nncore' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nncore.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from nncore._detailed import GradientInfo as GradientInfo
    from nncore._dispatch import show_config as show_config
    from nncore._notices import InterruptWarning as InterruptWarning
    from nncore.book import SimpleNet as SimpleNet
    from nncore.book import TwoLayerNet as TwoLayerNet
    from nncore.callbacks import CSVLog as CSVLog
    from nncore.callbacks import PlotHistory as PlotHistory
    from nncore.callbacks import TensorBoard as TensorBoard
    from nncore.callbacks import TimeLimit as TimeLimit
    from nncore.datasets import load_digits as load_digits
    from nncore.datasets import load_fashion_mnist as load_fashion_mnist
    from nncore.datasets import load_mnist as load_mnist
    from nncore.datasets import load_moons as load_moons
    from nncore.estimators import MLPClassifier as MLPClassifier
    from nncore.estimators import MLPRegressor as MLPRegressor
    from nncore.functions import binary_cross_entropy as binary_cross_entropy
    from nncore.functions import cross_entropy as cross_entropy
    from nncore.functions import cross_entropy_error as cross_entropy_error
    from nncore.functions import elu as elu
    from nncore.functions import entropy as entropy
    from nncore.functions import gelu as gelu
    from nncore.functions import hard_sigmoid as hard_sigmoid
    from nncore.functions import identity as identity
    from nncore.functions import information_content as information_content
    from nncore.functions import leaky_relu as leaky_relu
    from nncore.functions import log_softmax as log_softmax
    from nncore.functions import mean_squared_error as mean_squared_error
    from nncore.functions import negative_log_likelihood as negative_log_likelihood
    from nncore.functions import one_hot as one_hot
    from nncore.functions import relu as relu
    from nncore.functions import selu as selu
    from nncore.functions import sigmoid as sigmoid
    from nncore.functions import silu as silu
    from nncore.functions import softmax as softmax
    from nncore.functions import softplus as softplus
    from nncore.functions import tanh as tanh
    from nncore.gradcheck import check_gradient as check_gradient
    from nncore.gradient import gradient_descent as gradient_descent
    from nncore.gradient import numerical_diff as numerical_diff
    from nncore.gradient import numerical_gradient as numerical_gradient
    from nncore.gradient import numerical_hessian as numerical_hessian
    from nncore.gradient import numerical_jacobian as numerical_jacobian
    from nncore.history import History as History
    from nncore.layers import Layer as Layer
    from nncore.metrics import EarlyStopping as EarlyStopping
    from nncore.network import NeuralNetwork as NeuralNetwork
    from nncore.optimizers import LBFGS as LBFGS
    from nncore.optimizers import SGD as SGD
    from nncore.optimizers import AdaGrad as AdaGrad
    from nncore.optimizers import Adam as Adam
    from nncore.optimizers import AdamW as AdamW
    from nncore.optimizers import Momentum as Momentum
    from nncore.optimizers import Nesterov as Nesterov
    from nncore.optimizers import RMSprop as RMSprop
    from nncore.population import fit_many as fit_many
    from nncore.report import GradientMismatch as GradientMismatch
    from nncore.report import GradientReport as GradientReport
    from nncore.schedules import Constant as Constant
    from nncore.schedules import Cosine as Cosine
    from nncore.schedules import Exponential as Exponential
    from nncore.schedules import InverseScaling as InverseScaling
    from nncore.schedules import Linear as Linear
    from nncore.schedules import ReduceOnPlateau as ReduceOnPlateau
    from nncore.schedules import Schedule as Schedule
    from nncore.schedules import Step as Step
    from nncore.schedules import WarmUp as WarmUp
