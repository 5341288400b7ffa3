"""ONNX Runtime: predictions of the job's network, written as an ONNX model."""

import os

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import Entry, Outcome, Run, predicted
from benchmarks.problem import Problem

# A format that old and new runtimes read.
OPSET, IR_VERSION = 17, 8
NODES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softmax": "Softmax", "identity": "Identity"}


def version() -> str:
    """Version of ONNX Runtime."""
    return f"onnxruntime {onnxruntime.__version__}"


def model(problem: Problem) -> onnx.ModelProto:
    """A Gemm and an activation for each layer."""
    job, start = problem.job, problem.start()
    nodes, arrays, value = [], [], "x"
    for k, layer in enumerate(start, start=1):
        names = [f"W{k}", f"b{k}"]
        arrays += [numpy_helper.from_array(a, name) for a, name in zip(layer, names, strict=True)]
        last = k == len(start)
        output = "y" if last else f"z{k}"
        nodes += [
            helper.make_node("Gemm", [value, *names], [f"a{k}"]),
            helper.make_node(NODES[job.output if last else job.activation], [f"a{k}"], [output]),
        ]
        value = output
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", job.sizes[0]), ("y", job.sizes[-1]))
    )
    graph = helper.make_graph(nodes, problem.job.name, [x], [y], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def predict(problem: Problem, threads: int | None) -> Run:
    """A call of the session for each piece."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        model(problem).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    pieces = problem.pieces

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(pieces)):
            for x in pieces:
                (y,) = session.run(None, {"x": x})
        return predicted(y, threads or os.cpu_count() or 1)

    return run


JOBS = {
    "predict-small": Entry(predict, threads=(1,)),
    "predict": Entry(predict, threads=(1,)),
    "predict-many": Entry(predict, threads=(None, 1)),
}
