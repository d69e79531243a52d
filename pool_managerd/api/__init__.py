"""The two protocols over the one service: gRPC control plane and HTTP facade."""
