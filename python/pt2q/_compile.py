"""``pt2q.compile``: lowering of captured, converted and plain models."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pt2q import _core

_DEFAULT_BACKENDS = ("inductor", "onednn", "pt2q", "ipex")


class CompiledModel:
    """A model with fast kernels behind the same call.

    Made by :func:`compile`. A graph (what ``export``, ``convert_pt2e`` or ``load`` return) is lowered
    at once; a module or function is captured at its first call for every new combination of input
    shapes and dtypes. Inside ``pt2q.amp.autocast`` the model that runs is an int8-mixed-bf16 one.
    NumPy in, NumPy out; Tensor in, Tensor out. Calls may come from several threads.
    """

    def __init__(self, model: Any, options: dict[str, Any], backend: Any = None) -> None:
        self._orig_mod = model
        self._backend = backend  # the user's, in place of this compiler
        self._options = options
        self._lock = threading.Lock()
        self._by_signature: dict[Any, Any] = {}
        self._latest: Any = None
        self._at_once = isinstance(model, _core.GraphModule) and backend is None
        if self._at_once:
            self._compiled_for((), {})
        elif callable(model):
            functools.update_wrapper(self, model, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled_for(args, kwargs)(*args, **kwargs)

    def async_map(self, iterable: Iterable[Any], streams: int | None = None) -> Iterator[Any]:
        """The model's results for every item, in order, with several calls running at once.

        Args:
            iterable: items for one call each: an array or Tensor, or a tuple or list of positional
                arguments. It is read by the thread that asks for results, at most twice ``streams``
                items ahead of them.
            streams: calls that run at once; by default one per core. The threads of the process are
                shared out among them.

        Returns:
            A generator of what the plain calls return. Closing it drops the calls that have not begun.

        Raises:
            ValueError: ``streams`` is not positive.
            Error: of a call, in its turn and of the type the plain call raises; the message begins
                with the item's index. An exception of ``iterable`` follows the results before it.
        """
        self._refuse_backend("async_map")
        if streams is not None and streams < 1:
            raise _core.ValueError(f"async_map: streams must be positive, got {streams}")
        if not isinstance(iterable, Iterable):
            raise _core.TypeError(f"async_map: expected an iterable of inputs, got {type(iterable).__name__}")
        return self._results(iter(iterable), _core._Streams(streams or 0))

    def _results(self, items: Iterator[Any], pool: Any) -> Iterator[Any]:
        failed: BaseException | None = None
        more, count = True, 0
        try:
            while more:
                try:
                    item = next(items)
                except StopIteration:
                    more = False
                except Exception as error:
                    failed, more = error, False
                else:
                    failed = self._submit(pool, item, count)
                    count, more = count + 1, failed is None
                while pool.in_flight and (not more or pool.in_flight >= 2 * pool.streams or pool.ready):
                    yield pool.take()
            if failed is not None:
                raise failed
        finally:
            pool.close()

    def _submit(self, pool: Any, item: Any, index: int) -> BaseException | None:
        args = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        try:
            pool.submit(self._compiled_for(args, {}), *args)
        except _core.Error as error:
            error.args = (f"item {index}: {error}",)
            return error
        return None

    def _compiled_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What runs for these arguments: of a graph one variant per state of autocast."""
        key: Any = _core._autocast_state()
        if not self._at_once:
            training = getattr(self._orig_mod, "training", False)
            key = (key, training, _signature(args), _signature(kwargs))
        found = self._by_signature.get(key)
        if found is None:
            with self._lock:
                found = self._by_signature.get(key)
                if found is None:
                    found = self._by_signature[key] = self._lower(args, kwargs)
        self._latest = found
        return found

    def _lower(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        graph = self._orig_mod
        if not isinstance(graph, _core.GraphModule):
            graph = _capture(graph, args, kwargs)
        if self._backend is None:
            return _core._compile(graph, **self._options)
        from pt2q import _pytree

        found = self._backend(graph, _pytree.flatten((args, kwargs))[0])
        if not callable(found):
            raise _core.TypeError(f"the backend must return what to call, got {type(found).__name__}")
        return found

    def _refuse_backend(self, what: str) -> None:
        if self._backend is not None:
            raise _core.NotImplementedError(f"{what}: the model is run by a backend of the user's")

    def _lowered(self, args: tuple[Any, ...] = ()) -> Any:
        """What the last call ran; for a module, what these arguments would run."""
        self._refuse_backend("reports")
        if args and not self._at_once:
            return self._compiled_for(args, {})
        if self._latest is None:
            raise _core.RuntimeError(
                "the model has not been captured yet: call it once, or pass example inputs"
            )
        return self._latest

    @property
    def graph_module(self) -> Any:
        """The lowered graph as a GraphModule."""
        return self._lowered().graph_module

    @property
    def graph(self) -> Any:
        """The lowered graph: operators ``pt2q.*`` and ``onednn.*`` are fused ones."""
        return self._lowered().graph

    @property
    def passes(self) -> list[tuple[str, float, bool]]:
        """(name, seconds, changed) of every pass that ran."""
        return self._lowered().passes

    def explain(self, *inputs: Any) -> str:
        """Text: kernel, dtype and layout of every step, and why a layer with quantized operands runs
        in float. Without inputs: for the shapes of the capture."""
        return self._lowered(inputs).explain(*inputs)

    def print_tabular(self) -> str:
        """Prints, and returns, the lowered graph as a table with kernels and saturation verdicts."""
        text = self._lowered().print_tabular()
        print(text)
        return text

    def graph_for(self, *inputs: Any) -> str:
        """Text: the lowered graph and the steps that run for these inputs."""
        return self._lowered(inputs).graph_for(*inputs)

    def profile(self, *inputs: Any, repeats: int = 10) -> str:
        """Text: mean time of every step in microseconds, its share and GOP/s."""
        return self._lowered(inputs).profile(*inputs, repeats=repeats)

    def steps(self, *inputs: Any, repeats: int = 0) -> list[dict[str, Any]]:
        """The facts of ``explain`` as dicts; with mean ``seconds`` when ``repeats`` > 0."""
        return self._lowered(inputs).steps(*inputs, repeats=repeats)

    def saturation(self, *inputs: Any) -> dict[str, int]:
        """Why no 16-bit sum of an int8 layer can saturate, counted: ``layers`` in all, of them
        ``impossible`` (the instruction adds in 32 bits: VNNI, AMX), ``bounded`` (proven from weights
        and the largest input) and ``exact_route`` (widened products)."""
        return self._lowered(inputs).saturation(*inputs)

    def memory(self, *inputs: Any) -> dict[str, int]:
        """Bytes that a run for these inputs works in: ``activations`` between the steps, of which
        ``alive`` are needed at once at the fullest step, and ``scratch`` within steps."""
        return self._lowered(inputs).memory(*inputs)

    def refused(self) -> list[dict[str, Any]]:
        """Layers with quantized operands that run in float; ``note`` says why."""
        return self._lowered().refused()

    def eval(self) -> CompiledModel:
        if hasattr(self._orig_mod, "eval"):
            self._orig_mod.eval()
        return self

    def train(self, mode: bool = True) -> CompiledModel:
        if hasattr(self._orig_mod, "train"):
            self._orig_mod.train(mode)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_orig_mod" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._orig_mod, name)

    def __repr__(self) -> str:
        return f"CompiledModel({self._orig_mod!r})"


def _signature(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _signature(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_signature(v) for v in value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return tuple(value.shape), value.dtype
    return value


def _capture(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import pt2q
    from pt2q import export

    if not isinstance(model, pt2q.nn.Module):
        model = _FunctionModule.wrap(model)
    return export.export(model, args, kwargs).module()


class _FunctionModule:
    """Makes a module of a function, so that it can be exported."""

    @staticmethod
    def wrap(function: Callable[..., Any]) -> Any:
        import pt2q

        class FunctionModule(pt2q.nn.Module):
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

        return FunctionModule().eval()


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
    strict: bool = False,
    disabled_passes: Iterable[str] = (),
    dump_dir: str = "",
    tune: str | None = None,
    tuning_seconds: float = 2.0,
) -> Any:
    """Lowers a model to fused kernels: int8 where its quantize/dequantize operators allow, float32
    elsewhere. Takes the place of ``torch.compile``, whose keyword arguments are accepted.

    Args:
        model: a graph module (captured, or converted by ``convert_pt2e``), an ``ExportedProgram`` (also
            one that ``export.load`` read), an ``nn.Module``, or a function of tensors. Without it, returns
            a decorator.
        fullgraph, dynamic, options: of ``torch.compile``; accepted, without effect: capture is always
            whole.
        mode: of ``torch.compile``; one that begins with ``"max-autotune"`` means ``tune="measure"`` where
            ``tune`` is not given, others have no effect.
        backend: ``"inductor"`` and other known names mean this compiler. A callable takes its place: it
            is called with (graph module, list of inputs) at the first call of every combination of shapes
            and dtypes, and what it returns is called instead, with the arguments as they are.
        disable: return the model itself.
        strict: raise when a layer with quantized operands would run in float.
        disabled_passes: passes to leave out, by name (see ``CompiledModel.passes``).
        dump_dir: directory for the graph after each pass.
        tune: ``"model"``: a cost model chooses how each int8 layer is cut up. ``"measure"``: short
            measurements do, for the captured shapes now and for others when they come (in models that take
            any size, once per half octave of batch, height and width); what was measured
            is kept on disk (``PT2Q_CACHE_DIR``, else ``$XDG_CACHE_HOME/pt2q`` or ``~/.cache/pt2q``;
            ``PT2Q_CACHE=0``: nowhere). Results do not depend on it. ``explain()`` says which it was.
        tuning_seconds: the time measuring may take per set of input shapes; layers that come later are
            modelled.

    Returns:
        A :class:`CompiledModel`.

    Raises:
        ValueError: the model is prepared but not converted; ``tune`` is neither; negative seconds; the
            backend's name is not known.
        TypeError: the model or the backend cannot be called.
        RuntimeError: ``strict``, and a quantized layer has no int8 kernel.
    """
    if model is None:
        return functools.partial(
            compile,
            fullgraph=fullgraph,
            dynamic=dynamic,
            backend=backend,
            mode=mode,
            options=options,
            disable=disable,
            strict=strict,
            disabled_passes=disabled_passes,
            dump_dir=dump_dir,
            tune=tune,
            tuning_seconds=tuning_seconds,
        )
    if tune not in (None, "model", "measure"):
        raise _core.ValueError(f"unknown tune {tune!r}: expected 'model' or 'measure'")
    if disable:
        return model
    if not isinstance(model, _core.GraphModule):
        from pt2q.export import ExportedProgram  # here: a graph needs no capture, so nothing of it

        model = model.module() if isinstance(model, ExportedProgram) else model
    if isinstance(backend, str) and backend not in _DEFAULT_BACKENDS:
        known = ", ".join(_DEFAULT_BACKENDS)
        raise _core.ValueError(f"unknown backend {backend!r}: expected one of {known}")
    if not isinstance(backend, str) and not callable(backend):
        raise _core.TypeError(f"backend must be a name or a function, got {type(backend).__name__}")
    if not callable(model):
        raise _core.TypeError(f"compile expects a model or a function, got {type(model).__name__}")
    return CompiledModel(
        model,
        {
            "strict": strict,
            "disabled_passes": set(disabled_passes),
            "dump_dir": str(dump_dir),
            "measure": tune == "measure" or (tune is None and (mode or "").startswith("max-autotune")),
            "tuning_seconds": float(tuning_seconds),
        },
        None if isinstance(backend, str) else backend,
    )
