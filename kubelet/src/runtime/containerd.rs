//! containerd behind the runtime port, over its own gRPC services.
