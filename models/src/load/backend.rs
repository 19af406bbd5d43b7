//! Which encoder runs a model.

use std::path::Path;

use candle_core::DType;

use super::{EncoderChoice, LoadOptions, TransformerConfig, Weights};
use crate::cpu::{CpuEncoder, Kernel, Precision, Refusal, Threads};
use crate::device::Device;
use crate::embed::{Backend, Compute};
use crate::encoder::{self, CandleEncoder};
use crate::error::ModelError;
use crate::recipe::Recipe;

/// The encoder that `options` ask for, what it computes with, and the bytes of its weights.
pub(super) fn build(
    config: &TransformerConfig,
    weights: Weights,
    recipe: &Recipe,
    options: &LoadOptions,
    path: &Path,
) -> Result<(Backend, Compute, u64), ModelError> {
    if let Some(kernel) = kernel(options)? {
        let threads = Threads { count: options.threads, pin: options.pin, nice: options.nice };
        match CpuEncoder::new(config, &weights, recipe.pooling, kernel, threads, path) {
            Ok(encoder) => {
                let compute = Compute {
                    kernel: kernel.to_string(),
                    precision: kernel.precision(),
                    device: options.device.to_string(),
                    threads: encoder.threads(),
                };
                let bytes = encoder.weight_bytes() as u64;
                return Ok((Backend::Own(encoder), compute, bytes));
            }
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Unsupported(reason))
                if options.encoder != EncoderChoice::Auto || options.precision.is_some() =>
            {
                return Err(ModelError::UnsupportedFeature {
                    path: path.to_path_buf(),
                    feature: format!("kernel {kernel} for a model whose {reason}"),
                    supported: "candle runs it: set the encoder to `auto` or `candle`, and no precision",
                });
            }
            Err(Refusal::Unsupported(reason)) => {
                tracing::warn!(model = %path.display(), %reason, "candle runs this model, more slowly");
            }
        }
    }
    candle(config, weights, recipe, options, path)
}

/// The kernel of Fitment's own encoder that is to be tried; `None` where candle is to run the model.
fn kernel(options: &LoadOptions) -> Result<Option<Kernel>, ModelError> {
    let clash = |wanted: String, reason: &str| ModelError::NoDevice { wanted, reason: reason.to_owned() };
    match (options.device, options.encoder) {
        (Device::Cuda(_), EncoderChoice::Auto) | (Device::Cpu, EncoderChoice::Candle) => Ok(None),
        (Device::Cuda(_), _) => {
            Err(clash(options.device.to_string(), "encoder kernels are for a processor; leave the encoder at `auto`"))
        }
        (Device::Cpu, EncoderChoice::Auto) => Kernel::choose(options.precision).map(Some),
        (Device::Cpu, EncoderChoice::Kernel(kernel)) => {
            let kernel = kernel.checked()?;
            match options.precision {
                Some(precision) if precision != kernel.precision() => Err(ModelError::NoKernel {
                    wanted: format!("{kernel} in {precision}"),
                    available: format!("{kernel} in {}", kernel.precision()),
                }),
                _ => Ok(Some(kernel)),
            }
        }
    }
}

fn candle(
    config: &TransformerConfig,
    weights: Weights,
    recipe: &Recipe,
    options: &LoadOptions,
    path: &Path,
) -> Result<(Backend, Compute, u64), ModelError> {
    if options.pin {
        let reason = "candle runs this model, on threads of its own; do not pin them, or choose a kernel".into();
        return Err(ModelError::Pinning { reason });
    }
    let device = options.device.open()?;
    let precision = options.precision.unwrap_or(match options.device {
        Device::Cpu => Precision::F32,
        Device::Cuda(_) => Precision::F16,
    });
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
        // What lies between the products would be bf16 too: too coarse.
        Precision::Bf16 | Precision::Int8 => {
            return Err(ModelError::NoKernel {
                wanted: format!("candle in {precision} on {}", options.device),
                available: "candle in f32 or f16".into(),
            });
        }
    };
    let bytes = weights.bytes();
    let encoder = CandleEncoder {
        encoder: encoder::build(config, weights, dtype, &device, path)?,
        device,
        pooling: recipe.pooling,
        dimension: recipe.dimension,
        pad_token_id: config.pad_token_id,
        max_batch_tokens: options.max_batch_tokens,
    };
    let compute = Compute {
        kernel: format!("candle-{precision}"),
        precision,
        device: options.device.to_string(),
        threads: options.threads,
    };
    Ok((Backend::Candle(encoder), compute, bytes))
}
