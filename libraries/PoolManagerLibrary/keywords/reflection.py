"""gRPC as a client sees it that has no proto file."""

from __future__ import annotations

import time
from typing import Any

import grpc
from robot.api.deco import keyword

from PoolManagerLibrary.grpc_client import SERVICE, refusal, to_dict
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.outcome import Outcome, Protocol


class ReflectionKeywords(Keywords):
    """Keywords about server reflection."""

    @keyword
    def call_grpc_by_reflection(self, method: str, **fields: Any) -> Outcome:
        """Calls a method of ``pool_managerd.v1.PoolManager`` knowing only what server reflection tells of it.

        Example:
        | Call Grpc By Reflection | GetPool | pool_id=chat |
        | Answer Field | phase | == | ready |
        """
        from google.protobuf import descriptor_pool, message_factory  # noqa: PLC0415  # only here
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: PLC0415  # only here
            ProtoReflectionDescriptorDatabase,
        )

        if "pool_id" in fields:
            fields["pool_id"] = self.scenario.pool_id(fields["pool_id"])
        channel = self.daemon.grpc.channel
        # A pool of its own, so that nothing is known but what the server says.
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        descriptor = pool.FindServiceByName(SERVICE).FindMethodByName(method)
        request_class = message_factory.GetMessageClass(descriptor.input_type)
        response_class = message_factory.GetMessageClass(descriptor.output_type)
        invoke = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        self.scenario.act(f"gRPC {method}")
        call, at = f"gRPC {method} by reflection", time.time()
        try:
            answer = invoke(request_class(**fields), timeout=10)
        except grpc.RpcError as error:
            return self.scenario.answered(refusal(error, call, at=at, elapsed=time.time() - at))
        return self.scenario.answered(
            Outcome(Protocol.GRPC, call, True, "OK", to_dict(answer), at=at, elapsed=time.time() - at)
        )
