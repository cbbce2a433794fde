"""morphospace: the space of shapes of the sky."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names as in _PUBLIC, for type checkers and editors
    from morphospace.explore.explore import explore
    from morphospace.learn.doctor import doctor
    from morphospace.learn.encoders import encoder
    from morphospace.learn.encoders.timm import timm_encoder
    from morphospace.learn.gallery import plot_views
    from morphospace.learn.health import Health
    from morphospace.learn.methods import AE, BYOL, VAE, AstroVaDEr, Batch, Loss, Method, Plan, SimCLR, VaDE, VICReg
    from morphospace.learn.prepare import Preparation
    from morphospace.learn.schedule import Schedule
    from morphospace.learn.train import Loop, train
    from morphospace.learn.views import Views, views
    from morphospace.runs import Run
    from morphospace.science.completeness import Completeness, plot_completeness
    from morphospace.science.curves import label_efficiency
    from morphospace.science.figures import plot_confusion, plot_curves, plot_reliability, plot_values
    from morphospace.science.finetune import Tuning, finetune, predict_images
    from morphospace.science.inject import inject
    from morphospace.science.masks import Masks
    from morphospace.science.measure import Measures, measure
    from morphospace.science.morphometry.flags import ShapeFlag
    from morphospace.science.morphometry.segmentation import Segmentation
    from morphospace.science.predict import predict
    from morphospace.science.prediction import Prediction
    from morphospace.science.predictor import Predictor
    from morphospace.science.relate import relate
    from morphospace.science.segment import segment
    from morphospace.science.supervised import Answer, Supervised
    from morphospace.science.targets import read_labels
    from morphospace.sky.archives.datasets import datasets
    from morphospace.sky.archives.download import download
    from morphospace.sky.archives.fetch import fetch
    from morphospace.sky.curate import curate
    from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
    from morphospace.sky.detect import Detection
    from morphospace.sky.flags import Flag
    from morphospace.sky.intake import Intake
    from morphospace.sky.simulate import simulate, write_fits, write_sky
    from morphospace.sky.stretch import Stretch
    from morphospace.space.alike import alike
    from morphospace.space.anomaly import anomalies
    from morphospace.space.ask import ask
    from morphospace.space.cluster import cluster
    from morphospace.space.embed import Embedder, embed
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.export import export
    from morphospace.space.figures import plot_hits, save_figure
    from morphospace.space.generating.catalogue import generate
    from morphospace.space.generating.decoder import Decoder
    from morphospace.space.labels import Labels
    from morphospace.space.map_figure import plot_map
    from morphospace.space.project import open_projection, project
    from morphospace.space.search import Hits, search
    from morphospace.walkthrough import demo

#: Public name: the module that holds it. Each is imported when it is first asked for, since torch takes seconds.
_PUBLIC = {
    "AE": "morphospace.learn.methods",
    "Answer": "morphospace.science.supervised",
    "AstroVaDEr": "morphospace.learn.methods",
    "BYOL": "morphospace.learn.methods",
    "Batch": "morphospace.learn.methods",
    "Completeness": "morphospace.science.completeness",
    "Cutout": "morphospace.sky.cutouts",
    "Cutouts": "morphospace.sky.cutouts",
    "CutoutsWriter": "morphospace.sky.cutouts",
    "Decoder": "morphospace.space.generating.decoder",
    "Detection": "morphospace.sky.detect",
    "Embedder": "morphospace.space.embed",
    "Embeddings": "morphospace.space.embeddings",
    "Flag": "morphospace.sky.flags",
    "Health": "morphospace.learn.health",
    "Hits": "morphospace.space.search",
    "Intake": "morphospace.sky.intake",
    "Labels": "morphospace.space.labels",
    "Loop": "morphospace.learn.train",
    "Loss": "morphospace.learn.methods",
    "Masks": "morphospace.science.masks",
    "Measures": "morphospace.science.measure",
    "Method": "morphospace.learn.methods",
    "Plan": "morphospace.learn.methods",
    "Prediction": "morphospace.science.prediction",
    "Predictor": "morphospace.science.predictor",
    "Preparation": "morphospace.learn.prepare",
    "Run": "morphospace.runs",
    "Schedule": "morphospace.learn.schedule",
    "Segmentation": "morphospace.science.morphometry.segmentation",
    "ShapeFlag": "morphospace.science.morphometry.flags",
    "SimCLR": "morphospace.learn.methods",
    "Stretch": "morphospace.sky.stretch",
    "Supervised": "morphospace.science.supervised",
    "Tuning": "morphospace.science.finetune",
    "VAE": "morphospace.learn.methods",
    "VICReg": "morphospace.learn.methods",
    "VaDE": "morphospace.learn.methods",
    "Views": "morphospace.learn.views",
    "alike": "morphospace.space.alike",
    "anomalies": "morphospace.space.anomaly",
    "ask": "morphospace.space.ask",
    "cluster": "morphospace.space.cluster",
    "curate": "morphospace.sky.curate",
    "datasets": "morphospace.sky.archives.datasets",
    "demo": "morphospace.walkthrough",
    "doctor": "morphospace.learn.doctor",
    "download": "morphospace.sky.archives.download",
    "embed": "morphospace.space.embed",
    "encoder": "morphospace.learn.encoders",
    "explore": "morphospace.explore.explore",
    "export": "morphospace.space.export",
    "fetch": "morphospace.sky.archives.fetch",
    "finetune": "morphospace.science.finetune",
    "generate": "morphospace.space.generating.catalogue",
    "label_efficiency": "morphospace.science.curves",
    "inject": "morphospace.science.inject",
    "measure": "morphospace.science.measure",
    "open_projection": "morphospace.space.project",
    "plot_confusion": "morphospace.science.figures",
    "plot_curves": "morphospace.science.figures",
    "plot_completeness": "morphospace.science.completeness",
    "plot_hits": "morphospace.space.figures",
    "plot_map": "morphospace.space.map_figure",
    "plot_reliability": "morphospace.science.figures",
    "plot_values": "morphospace.science.figures",
    "plot_views": "morphospace.learn.gallery",
    "predict": "morphospace.science.predict",
    "predict_images": "morphospace.science.finetune",
    "project": "morphospace.space.project",
    "read_labels": "morphospace.science.targets",
    "relate": "morphospace.science.relate",
    "save_figure": "morphospace.space.figures",
    "search": "morphospace.space.search",
    "segment": "morphospace.science.segment",
    "simulate": "morphospace.sky.simulate",
    "timm_encoder": "morphospace.learn.encoders.timm",
    "train": "morphospace.learn.train",
    "views": "morphospace.learn.views",
    "write_fits": "morphospace.sky.simulate",
    "write_sky": "morphospace.sky.simulate",
}

__all__ = [  # noqa: RUF022 - in plain order, capitals first
    "AE",
    "Answer",
    "AstroVaDEr",
    "BYOL",
    "Batch",
    "Completeness",
    "Cutout",
    "Cutouts",
    "CutoutsWriter",
    "Decoder",
    "Detection",
    "Embedder",
    "Embeddings",
    "Flag",
    "Health",
    "Hits",
    "Intake",
    "Labels",
    "Loop",
    "Loss",
    "Masks",
    "Measures",
    "Method",
    "Plan",
    "Prediction",
    "Predictor",
    "Preparation",
    "Run",
    "Schedule",
    "Segmentation",
    "ShapeFlag",
    "SimCLR",
    "Stretch",
    "Supervised",
    "Tuning",
    "VAE",
    "VICReg",
    "VaDE",
    "Views",
    "alike",
    "anomalies",
    "ask",
    "cluster",
    "curate",
    "datasets",
    "demo",
    "doctor",
    "download",
    "embed",
    "encoder",
    "explore",
    "export",
    "fetch",
    "finetune",
    "generate",
    "inject",
    "label_efficiency",
    "measure",
    "open_projection",
    "plot_completeness",
    "plot_confusion",
    "plot_curves",
    "plot_hits",
    "plot_map",
    "plot_reliability",
    "plot_values",
    "plot_views",
    "predict",
    "predict_images",
    "project",
    "read_labels",
    "relate",
    "save_figure",
    "search",
    "segment",
    "simulate",
    "timm_encoder",
    "train",
    "views",
    "write_fits",
    "write_sky",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public thing
    if name not in _PUBLIC:
        msg = f"module 'morphospace' has no attribute '{name}'"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
