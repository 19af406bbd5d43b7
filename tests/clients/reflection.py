"""Talks to a daemon with grpcio alone; every message type is learnt through server reflection.

Usage: python3 reflection.py ADDRESS (a daemon with the small catalogue of the end to end tests)
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Client:
    """Calls methods of services that it has only heard of."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def method(self, service, method):
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)
        response = message_factory.GetMessageClass(found.output_type)
        kind = {(False, False): "unary_unary", (True, True): "stream_stream"}
        call = getattr(self.channel, kind[(found.client_streaming, found.server_streaming)])
        return request, call(
            f"/{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )


def details(error):
    """The google.rpc details of an error."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            found = {}
            for detail in status.details:
                for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
                    if detail.Is(kind.DESCRIPTOR):
                        found[kind.__name__] = kind.FromString(detail.value)
            return found
    return {}


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        client = Client(channel)
        services = set(client.database.get_services())
        wanted = {"fitment.v1.MatcherService", "fitment.v1.CatalogService", "fitment.v1.InfoService", "grpc.health.v1.Health"}
        assert wanted <= services, services

        # The newer reflection protocol is served beside the older one: same messages, other name.
        newer = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        answer = next(newer(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))
        assert wanted <= {service.name for service in answer.list_services_response.service}

        request, match = client.method("fitment.v1.MatcherService", "Match")
        response = match(request(intent="let the buyer pay with a credit card"), timeout=30)
        assert response.candidates[0].name == "payments/card-checkout", response
        response = match(request(intent="text a phone", filter={"expression": "not namespace:messaging"}), timeout=30)
        assert all(not candidate.name.startswith("messaging/") for candidate in response.candidates)

        try:
            match(request(intent=""), timeout=30)
            raise AssertionError("an empty intent must be refused")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            found = details(error)
            assert found["ErrorInfo"].domain == "fitment", found
            assert found["BadRequest"].field_violations[0].field == "intent", found

        try:
            # Long, so that it is not answered within the millisecond that clients round a deadline to.
            match(request(intent="restore the database " * 100), timeout=0.00001)
            raise AssertionError("there was no time for an answer")
        except grpc.RpcError as error:
            # Refused at once where the daemon knows already how long a text takes it.
            in_vain = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert error.code() in in_vain, error

        stream_request, stream = client.method("fitment.v1.MatcherService", "StreamMatch")
        sent = [stream_request(id=str(n), request=request(intent="restore the database")) for n in range(5)]
        answers = {answer.id: answer.response.candidates[0].name for answer in stream(iter(sent), timeout=60)}
        assert answers == {str(n): "storage/backup" for n in range(5)}, answers

        import_request, import_components = client.method("fitment.v1.CatalogService", "ImportComponents")
        manifest = (
            "name: python/made\nversion: 1.0.0\ntitle: Made elsewhere\nsummary: Comes from another language.\n"
            "kind: library\nlifecycle: certified\nlicense: MIT\nowner: team-tests\n"
        )
        results = list(import_components(iter([import_request(manifest=manifest.encode())]), timeout=60))
        assert [result.status.code for result in results] == [0], results

        list_request, list_components = client.method("fitment.v1.CatalogService", "ListComponents")
        listed = list_components(list_request(page_size=10), timeout=30)
        assert "python/made" in [component.name for component in listed.components], listed

        info_request, info = client.method("fitment.v1.InfoService", "GetServerInfo")
        assert info(info_request(), timeout=30).ready
    print("all calls answered")


if __name__ == "__main__":
    main()
