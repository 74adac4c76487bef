"""A model that TensorFlow Serving answers for by gRPC."""

from google.protobuf import json_format

from experiments.served.outputs import BadAnswer, shortened
from experiments.served.server import MOST_BYTES, RemoteServer, ServerError, input_shape_of, require_name


class GrpcServer(RemoteServer):
    """The gRPC API, by tensorflow-serving-api's stubs."""

    def predict(self, signature, inputs, outputs):
        """See `Server.predict`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self._call("Predict", request).outputs
        try:
            for name in outputs:
                require_name(name, answer)
            return {name: output.of_proto(name, answer[name]) for name, output in outputs.items()}
        except BadAnswer as error:
            raise ServerError(f"{self._address}: the answer to {signature} is wrong: {error}.") from error

    def input_shape(self, name):
        """See `Server.input_shape`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        try:
            response = self._call("GetModelMetadata", request)
        except ServerError as error:
            if error.__cause__.code() == grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return input_shape_of(json_format.MessageToDict(signatures, preserving_proto_field_name=True), name)

    def _call(self, method, request):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        # gRPC's own limit, 4 MB, is 21 images of 256x256x3.
        options = [("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                return getattr(stub, method)(request, self._timeout)
            except grpc.RpcError as error:
                details = shortened(error.details() or "")
                raise ServerError(f"{self._address}: {error.code().name}: {details}") from error
