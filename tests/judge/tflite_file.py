"""A .tflite file read with LiteRT's own schema."""

import collections

import numpy as np
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT = 16


class TfliteFile:
    """The parts of a file that tests ask about."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        self.root = schema.Model.GetRootAs(self.bytes, 0)
        self.model = schema.ModelT.InitFromPackedBuf(self.bytes)
        self.main = self.model.subgraphs[0]

    @property
    def identifier(self):
        return self.bytes[4:8]

    def builtin(self, operator):
        """The name of the builtin that `operator` calls."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        return names[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def builtins(self, subgraph):
        """The builtins that `subgraph` calls, in order."""
        return [self.builtin(operator) for operator in subgraph.operators]

    def all_builtins(self):
        return [name for subgraph in self.model.subgraphs for name in self.builtins(subgraph)]

    def signature(self):
        """The only signature: its key, and tensors of the main graph by outside name."""
        (signature,) = self.model.signatureDefs
        assert signature.subgraphIndex == 0

        def tensors(maps):
            return {entry.name.decode(): self.main.tensors[entry.tensorIndex] for entry in maps}

        return signature.signatureKey.decode(), tensors(signature.inputs), tensors(signature.outputs)

    def metadata(self):
        """Metadata entries: name -> bytes."""
        return {
            entry.name.decode(): bytes(np.asarray(self.model.buffers[entry.buffer].data, np.uint8))
            for entry in self.model.metadata or []
        }

    def buffer_offsets(self):
        """Where the data of each buffer that has any starts in the file."""
        offsets = []
        for index in range(self.root.BuffersLength()):
            buffer = self.root.Buffers(index)
            if buffer.DataLength():
                field = buffer._tab.Offset(4)
                offsets.append(buffer._tab.Vector(field))
            elif buffer.Offset() > 1:
                offsets.append(buffer.Offset())
        return offsets

    def weight_elements(self):
        """How many elements constant float tensors have, by type."""
        names = {schema.TensorType.FLOAT32: "fp32", schema.TensorType.FLOAT16: "fp16"}
        counts = collections.Counter()
        for subgraph in self.model.subgraphs:
            for tensor in subgraph.tensors:
                if tensor.type in names and self._is_constant(tensor):
                    counts[names[tensor.type]] += int(np.prod([] if tensor.shape is None else tensor.shape))
        return counts

    def _is_constant(self, tensor):
        buffer = self.model.buffers[tensor.buffer]
        return buffer.offset > 1 or (buffer.data is not None and len(buffer.data) > 0)
