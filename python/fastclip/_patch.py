# SPDX-License-Identifier: BSD-3-Clause
"""Put fastclip's functions in the place of a framework's own, for code that was written for these."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from fastclip import _errors

_TENSORFLOW = ("clip_by_value", "clip_by_norm", "clip_by_global_norm")

#: A framework is a row: its function or method, "module:name", and ours. What a release of it lacks stays absent.
FRAMEWORKS: dict[str, dict[str, str]] = {
    "numpy": {"numpy:clip": "fastclip.numpy:clip", "numpy.linalg:norm": "fastclip.numpy:linalg.norm"},
    "torch": {
        f"{module}:{name}": f"fastclip.torch:{name}"
        for module in ("torch.nn.utils", "torch.nn.utils.clip_grad")
        # get_total_norm and clip_grads_with_norm_ came with PyTorch 2.6, under private names in the second module,
        # where they are found by what they are
        for name in ("clip_grad_norm_", "clip_grad_norm", "clip_grad_value_", "get_total_norm", "clip_grads_with_norm_")
    },
    "flwr": {
        f"{module}:{name}": f"fastclip.flwr:{name}"
        for module in ("flwr.supercore.differential_privacy", "flwr.common.differential_privacy")  # it has moved
        for name in (
            "get_norm",
            "clip_inputs_inplace",
            "adaptive_clip_inputs_inplace",
            "compute_clip_model_update",
            "compute_adaptive_clip_model_update",
        )
    },
    "optax": {
        f"optax:{name}": f"fastclip.optax:{name}"
        for name in ("clip", "clip_by_block_rms", "clip_by_global_norm", "global_norm")
    },
    "thinc": {"thinc.backends.ops:Ops.clip_gradient": "fastclip.thinc:clip_gradient"},
    "tensorflow": {
        **{f"tensorflow:{name}": f"fastclip.tensorflow:{name}" for name in _TENSORFLOW},
        "tensorflow.linalg:global_norm": "fastclip.tensorflow:global_norm",
        "tensorflow.python.ops.clip_ops:clip_by_average_norm": "fastclip.tensorflow:clip_by_average_norm",
    },
    "keras": {
        f"keras.src.optimizers.base_optimizer:{path}": f"fastclip.keras:{ours}"
        for path, ours in (
            ("BaseOptimizer._clip_gradients", "clip_gradients"),
            ("clip_by_global_norm", "clip_by_global_norm"),
            ("global_norm", "global_norm"),
        )
    },
}
#: What a framework imports late and what then reads its own functions: numpy.ma, the text of numpy.clip's docstring.
FIRST = {"numpy": ["numpy.ma"]}

Function = Callable[..., Any]
#: makes of a function, and of the name that it replaces, what is put there
Wrap = Callable[[str, Function], Function]


class _Place(NamedTuple):
    """Where a function can be put: a key of a module's globals, or an attribute of a class or of a module.

    TensorFlow's `compat.v1` is a module that keeps what it was asked for beside its globals, and must be told.
    """

    owner: dict[str, Any] | type | ModuleType
    name: str

    def get(self) -> Any:
        if type(self.owner) is dict:
            return self.owner.get(self.name)
        return (vars(self.owner) if isinstance(self.owner, type) else _globals(self.owner)).get(self.name)

    def put(self, function: Any) -> None:
        if type(self.owner) is dict:
            self.owner[self.name] = function
        else:
            setattr(self.owner, self.name, function)


class _Swapped:
    """What has become of one framework."""

    def __init__(self) -> None:
        self.users = 0
        self.pairs: dict[int, tuple[Any, Function]] = {}  # id of the original: it, which keeps the id, and ours
        self.changed: list[tuple[_Place, Any, Function]] = []

    def swap(self, place: _Place, original: Any, ours: Function) -> None:
        self.pairs[id(original)] = original, ours
        self.changed.append((place, original, ours))
        place.put(ours)

    def restore(self) -> None:
        for place, original, ours in reversed(self.changed):
            if place.get() is ours:  # else somebody has put a third function there since, and means it
                place.put(original)


# Neither isinstance nor vars below: a lazy module imports itself when it is asked for its __class__ or its __dict__.
_globals = vars(ModuleType)["__dict__"].__get__

_lock = threading.RLock()
_swapped: dict[str, _Swapped] = {}


class Patch:
    """What `fastclip.patch` has changed; as a context manager it undoes that at the end."""

    def __init__(self, names: Iterable[str], wrap: Wrap = lambda _, function: function) -> None:
        self._names = tuple(names)
        # Everything is imported before the lock is taken: another thread may hold the lock of an import and want ours.
        functions = {name: list(_functions(name)) for name in self._names}
        with _lock:
            for name in self._names:
                _swap(_swapped.setdefault(name, _Swapped()), functions[name], wrap)
        self._in_force = True

    def undo(self) -> None:
        """Put the originals back, unless another patch of the framework is in force; the second time, do nothing."""
        with _lock:
            if not self._in_force:
                return
            self._in_force = False
            for name in self._names:
                _swapped[name].users -= 1
                if not _swapped[name].users:
                    _swapped.pop(name).restore()

    def __enter__(self) -> Patch:
        if not self._in_force:
            raise RuntimeError("patch: this one was undone; call fastclip.patch again.")
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def __repr__(self) -> str:
        with _lock:
            places = sum(len(_swapped[name].changed) for name in self._names) if self._in_force else 0
        state = f"in force in {places} places" if self._in_force else "undone"
        return f"<fastclip.patch({', '.join(map(repr, self._names))}), {state}>"


def patch(*names: str) -> Patch:
    """Put fastclip's functions in the place of the frameworks' own, at once and until it is undone.

    A function is replaced in the framework's modules and wherever a module has imported it by name
    (`from torch.nn.utils import clip_grad_norm_`). Other references stay: in a class, a closure, a default argument, a
    container. What is imported while the patch is in force is fastclip's for good. Two patches of one framework
    may be undone in any order; the last one brings the originals back.

    Args:
        names: among "numpy" (`clip`, `linalg.norm`), "torch" (in `torch.nn.utils`: `clip_grad_norm_`,
            `clip_grad_norm`, `clip_grad_value_`, `get_total_norm`, `clip_grads_with_norm_`), "tensorflow"
            (`clip_by_value`, `clip_by_norm`, `clip_by_global_norm`, `linalg.global_norm`,
            `compat.v1.clip_by_average_norm`), "keras" (the `clipnorm`, `clipvalue` and `global_clipnorm` of its
            optimizers), "optax" (`clip`, `clip_by_block_rms`, `clip_by_global_norm`, `global_norm`), "flwr" (the
            clipping of its differential privacy: `get_norm`, `clip_inputs_inplace`, `compute_clip_model_update` and
            their adaptive variants) and "thinc" (`Ops.clip_gradient`), which are imported; none for those that are
            installed.

    Returns:
        An object with `undo()`; `with fastclip.patch("torch"):` calls it at the end.

    Raises:
        ValueError: a name is unknown.
        ModuleNotFoundError: a framework is not installed.

    Example:
        >>> import numpy as np, fastclip
        >>> with fastclip.patch("numpy"):
        ...     float(np.linalg.norm([3e200, 4e200])) / 1e200
        5.0
        >>> np.clip is fastclip.clip
        False
    """
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"patch: names[{i}] is {_errors.show(name)}; expected a name such as 'numpy'.")
        if name not in FRAMEWORKS:
            raise ValueError(f"patch: names[{i}] is {name!r}; expected one of: {', '.join(FRAMEWORKS)}.")
        if not installed(name):
            raise _errors.not_installed("patch", name)
    return Patch(names or filter(installed, FRAMEWORKS))


def installed(name: str) -> bool:
    """Tell whether a framework can be imported, without importing it."""
    if name in sys.modules:
        return sys.modules[name] is not None
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.loader is not None  # a mere folder of that name has none


def _functions(framework: str) -> Iterator[tuple[_Place, str, str, Function]]:
    """Yield, of each function that the framework has, its place, its name, what replaces it, and that itself."""
    for module in FIRST.get(framework, ()):
        importlib.import_module(module)
    for theirs, ours in FRAMEWORKS[framework].items():
        module, _, path = theirs.partition(":")
        holder, _, name = path.rpartition(".")
        try:
            owner = pkgutil.resolve_name(f"{module}:{holder}")
        except ModuleNotFoundError:
            continue
        place = _Place(owner if isinstance(owner, type) else vars(owner), name)
        if place.get() is not None:
            yield place, theirs.replace(":", "."), ours, pkgutil.resolve_name(ours)


def _swap(swapped: _Swapped, functions: list[tuple[_Place, str, str, Function]], wrap: Wrap) -> None:
    """Replace what is not replaced yet, in the framework and in every module that has imported it by name."""
    swapped.users += 1
    made: dict[str, Function] = {}  # one for each of ours: two places of one function count as one
    for place, theirs, key, ours in functions:
        original = place.get()
        if not any(original is put for _, put in swapped.pairs.values()):
            function = made[key] = made[key] if key in made else wrap(theirs, ours)
            swapped.swap(place, original, function)
    for owner, namespace in _namespaces():
        for name, value in namespace.copy().items():
            if id(value) in swapped.pairs:
                swapped.swap(_Place(owner, name), *swapped.pairs[id(value)])


def _namespaces() -> Iterator[tuple[dict[str, Any] | ModuleType, dict[str, Any]]]:
    """Yield the globals of every module but fastclip's, which hold the originals on purpose, and who sets them."""
    for name, module in sys.modules.copy().items():
        if issubclass(type(module), ModuleType) and name.partition(".")[0] != "fastclip":
            plain = type(module).__setattr__ is ModuleType.__setattr__
            yield _globals(module) if plain else module, _globals(module)


class _OnImport(MetaPathFinder):
    """Patch a framework when its import is complete.

    The module comes from where it would have come from without this: the loader that the other finders choose executes
    it, and only the call that does so is extended.
    """

    def __init__(self, waiting: set[str], wrap: Wrap) -> None:
        self._waiting = waiting
        self._wrap = wrap

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find the framework as the other finders do."""
        if fullname not in self._waiting:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and hasattr(spec.loader, "__dict__") and not isinstance(spec.loader, type):
            self._extend(spec.loader, spec)
        return spec

    def _extend(self, loader: Any, spec: ModuleSpec) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__spec__ is spec:  # a loader may serve a whole archive of modules
                vars(loader).pop("exec_module", None)
                self._patch(spec.name)

        loader.exec_module = exec_module

    def _patch(self, name: str) -> None:
        try:
            Patch([name], self._wrap)
        except Exception as error:  # such as a release that fastclip does not know, which is no reason to stop a script
            warnings.warn(f"fastclip: {name} is not patched: {error!r}", RuntimeWarning, stacklevel=2)


def patch_on_import(names: Iterable[str], wrap: Wrap) -> None:
    """Patch the frameworks that are imported by now, and each of the others when it is imported."""
    chosen = set(names)
    loaded = {name for name in chosen if name in sys.modules}
    Patch(loaded, wrap)
    sys.meta_path.insert(0, _OnImport(chosen - loaded, wrap))
