"""The folder that protoc expects for the proto package ``pool_managerd``."""
