//! Compiles the protocol with a compiler written in Rust, so that a build needs no system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["gpuledger/v1/telemetry.proto"], ["."])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallBuffers").compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=gpuledger");
    Ok(())
}
