"""Asking an export: in this process, by gRPC or by REST, all with the interface of `Server`."""

from experiments.cli import UsageError
from experiments.served.grpc_server import GrpcServer
from experiments.served.in_process import InProcess
from experiments.served.outputs import Output
from experiments.served.rest_server import RestServer
from experiments.served.server import Server, ServerError

__all__ = ["GrpcServer", "InProcess", "Output", "RestServer", "Server", "ServerError", "connect"]

MOST_SECONDS = 86400


def connect(address: str, model: str, timeout: float) -> Server:
    """Returns the model on a server, by REST for an address http://... or https://..., else by gRPC.

    Raises:
        UsageError: for a timeout that is none; for gRPC, if tensorflow-serving-api isn't installed.
    """
    if not 0 < timeout <= MOST_SECONDS:  # As a NaN isn't, either.
        raise UsageError(f"Seconds to wait must be more than 0, at most {MOST_SECONDS}, got {timeout}.")
    if address.startswith(("http://", "https://")):
        return RestServer(address, model, timeout)
    try:
        import tensorflow_serving.apis.predict_pb2  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--server {address} is gRPC, which needs `pip install tensorflow-serving-api`. The REST API, "
            "http://host:port, doesn't."
        ) from error
    return GrpcServer(address, model, timeout)
