//! Fitment's gRPC protocol: messages, clients, servers and the descriptor set, generated from `fitment/v1/*.proto`.
//!
//! Wire types only. They are converted at the server's edge and go no further inward.

/// Version 1 of the protocol.
pub mod v1 {
    #![expect(
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::large_enum_variant,
        reason = "generated code; the comments of the .proto are its manual"
    )]
    tonic::include_proto!("fitment.v1");
}

/// The encoded `google.protobuf.FileDescriptorSet` of the protocol with its imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fitment_descriptor.bin"));

/// Domain of every `google.rpc.ErrorInfo` that Fitment sends.
pub const ERROR_DOMAIN: &str = "fitment";
