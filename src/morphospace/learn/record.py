"""What a run says of itself: its configuration, and the paragraph and references for the paper."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from numbers import Real
from typing import Any

from torch import nn

from morphospace.errors import ConfigError
from morphospace.learn.data import first_shape
from morphospace.learn.decoders import DECODERS, AbsentDecoder
from morphospace.learn.encoders import ENCODERS, encoder
from morphospace.learn.methods import METHODS, Method
from morphospace.learn.prepare import Preparation
from morphospace.learn.settings import Loop, Settings
from morphospace.learn.views import Views
from morphospace.runs import Run, software_versions
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.sky.stretch import Stretch

__all__ = ["describe_run", "load_method", "methods_text", "preparation_of"]


def describe_run(
    method: Method, source: Cutouts | Samples, views: Views, settings: Settings, loop: Loop
) -> dict[str, Any]:
    """Return the resolved configuration of a run, ready for ``run.toml``.

    Parameters
    ----------
    method : Method
        As it will be trained.
    source : Cutouts or Samples
        At least one image; a store is named with its fingerprint.
    views, settings, loop
        As given to `train`.
    """
    described: dict[str, Any] = {
        "versions": software_versions(),
        "bands": first_shape(source)[0],
        "encoder": method.encoder_recipe or {"name": type(method.network).__qualname__},
        "method": {"name": type(method).__name__, **_options(method)},
        "preparation": _plain(views.prepare),
        "views": _plain({f.name: getattr(views, f.name) for f in fields(views) if f.name != "prepare"}),
        "train": _plain(settings),
        "loop": {**_plain(loop), "n_devices": loop.n_devices},
        "data": {"rows": len(source)},
    }
    if method.layer is not None:
        described["layer"] = method.layer
    if isinstance(source, Cutouts):
        described["data"] |= {"path": str(source.path), "fingerprint": source.fingerprint}
    return described


def load_method(run: Run, *, network: nn.Module | None = None, decoder: nn.Module | None = None) -> Method:
    """Rebuild a trained method with its weights, in evaluation mode.

    Parameters
    ----------
    run : Run
        A finished run.
    network : Module, optional
        The encoder, if it is not one of morphospace's own.
    decoder : Module, optional
        The same of the decoder; without it such a run has vectors and makes no images.

    Returns
    -------
    Method
        Of the run's own class, or a bare `Method` around the encoder where that class is not registered.

    Raises
    ------
    ConfigError
        If the encoder is the user's own and was not given, or the method takes no such option.
    """
    config = run.config
    recipe = config.get("encoder", {})
    if network is None:
        if recipe.get("name") not in ENCODERS:
            msg = f"run '{run.path}' has an encoder of your own ({recipe.get('name')}); pass it as encoder=."
            raise ConfigError(msg)
        network = encoder(**recipe)
    weights = run.tensors()
    options = dict(config.get("method", {}))
    kind = METHODS.get(options.pop("name", ""), Method)
    # files that hold the encoder alone (the starter) need no heads
    whole = kind is not Method and any(not k.startswith("encoder.") for k in weights)
    if options.get("decoder", "light") not in DECODERS:
        options["decoder"] = decoder or AbsentDecoder(options["decoder"])
    unknown = [name for name in options if name not in inspect.signature(kind).parameters]
    if whole and unknown:
        msg = f"'method.{unknown[0]}' in '{run.path}/run.toml' is no option of {kind.__name__} in this version; train anew."
        raise ConfigError(msg)
    method = (
        kind(network, layer=config.get("layer"), **options) if whole else Method(network, layer=config.get("layer"))
    )
    kept = weights if whole else {k: v for k, v in weights.items() if k.startswith("encoder.")}
    if isinstance(options.get("decoder"), AbsentDecoder):
        kept = {k: v for k, v in kept.items() if not k.startswith("generator.")}
    try:
        method.load_state_dict(kept)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        msg = f"the weights of run '{run.path}' do not fit this encoder ({first}); pass the one it was trained with."
        raise ConfigError(msg) from None
    return method.eval()


def preparation_of(run: Run) -> Preparation:
    """Return the preparation that a run was trained with."""
    table = dict(run.config["preparation"])
    return Preparation(**{**table, "stretch": Stretch(**table["stretch"])})


def methods_text(run: Run) -> str:
    """Write the paragraph for the paper's methods section, with its references as BibTeX."""
    config = run.config
    method, train, p, versions = (config[k] for k in ("method", "train", "preparation", "versions"))
    kind = METHODS.get(method["name"], Method)
    rows, bands = config["data"]["rows"], config["bands"]
    sentences = (
        f"We trained the encoder {config['encoder']['name']} without labels with {method['name']} ({kind.paper}) on {rows:,}",
        f"images in {bands} band{'s' if bands > 1 else ''}, for {train['epochs']} epochs with batches of",
        f"{min(train['batch_size'], rows)} and a highest learning rate of {train['lr']:g} (seed {train['seed']}).",
        f"Images were brought to {p['size']} x {p['size']} pixels (scale: {p['scale']}) in units '{p['units']}' with the",
        f"stretch '{p['stretch']['kind']}' (a = {p['stretch']['a']:g}). We used morphospace {versions['morphospace']},",
        f"PyTorch {versions['torch']} and Astropy {versions['astropy']}.",
    )
    text = "# Methods\n\n" + " ".join(sentences) + "\n"
    return f"{text}\n## References\n\n```bibtex\n{kind.bibtex}\n```\n" if kind.bibtex else text


def _options(method: Method) -> dict[str, Any]:
    # each constructor argument lives in an attribute of its name; those that are no plain values are named
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(method)).parameters.items():
        if name in ("encoder", "layer") or not hasattr(method, name):
            continue
        value = getattr(method, name)
        # a default that has no plain form (a loss) comes back by itself
        told = isinstance(value, bool | int | float | str) or is_dataclass(value)
        if value is not None and (value is not parameter.default or told):
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401
    if is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in asdict(value).items() if v is not None}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return getattr(value, "__qualname__", type(value).__qualname__)
    return value if isinstance(value, Real | str) else type(value).__qualname__
