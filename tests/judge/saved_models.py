"""Exported SavedModels in TensorFlow: loaded, as a Keras layer, and through TensorFlow's own converter to TFLite.

The two runtimes have the form of those in runtimes.py. They stand apart because importing TensorFlow takes seconds.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.tools import saved_model_cli

from runtimes import SIGNATURE

VARIABLES = "variables/variables"  # what the two files of the bundle begin with
CONTENT = ["saved_model.pb", f"{VARIABLES}.data-00000-of-00001", f"{VARIABLES}.index"]


class TensorFlow:
    """TensorFlow's loader, and the signature as a function."""

    def __init__(self, path):
        self.module = tf.saved_model.load(str(path))
        self.signature = self.module.signatures[SIGNATURE]

    def run(self, x, shapes):
        return {name: values.numpy() for name, values in self.signature(tf.constant(x)).items()}

    @property
    def variables(self):
        """The variables by name, without the number of the output."""
        return {variable.name.removesuffix(":0"): variable for variable in self.module.variables}

    def gradients(self, x):
        """The gradients of the sum of the squares of `output`, by the variable's name."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.signature(tf.constant(x))["output"] ** 2)
        return tape.gradient(loss, self.variables)


class KerasLayer:
    """The SavedModel as a layer of Keras."""

    def __init__(self, path):
        self.layer = keras.layers.TFSMLayer(str(path), call_endpoint=SIGNATURE)

    def run(self, x, shapes):
        return {name: np.asarray(values) for name, values in self.layer(x).items()}


def convert(folder, path):
    """Converts the SavedModel in `folder` to a TFLite file at `path`, with the operators that every runtime has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def graph_of(folder):
    """The MetaGraph in saved_model.pb, which must be the only one."""
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    return graph


def all_nodes(graph):
    """The nodes of the graph and of its functions."""
    return [
        *graph.graph_def.node,
        *(node for function in graph.graph_def.library.function for node in function.node_def),
    ]


def run_cli(monkeypatch, *arguments):
    """Runs `saved_model_cli` in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["saved_model_cli", *map(str, arguments)])
    verbosity = logging.get_verbosity()
    try:
        saved_model_cli.main()
    except SystemExit as finished:
        return finished.code or 0
    finally:
        logging.set_verbosity(verbosity)
    return 0
