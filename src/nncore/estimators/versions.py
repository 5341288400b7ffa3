"""Stand-ins for parts that not all supported versions of scikit-learn have."""

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Nothing to tear down."""
        return method


try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, *args: Any, **settings: Any) -> Any:
        """The method it was then."""
        return estimator._validate_data(*args, **settings)


__all__ = ["CallbackSupportMixin", "validate_data", "with_callbacks"]
