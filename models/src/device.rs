//! Where a model computes.

use std::fmt;
use std::str::FromStr;

use crate::error::ModelError;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This processor.
    #[default]
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl Device {
    /// candle's device. Nothing falls back: a device that is asked for is there, or it is an error.
    pub(crate) fn open(self) -> Result<candle_core::Device, ModelError> {
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(number) => self.open_cuda(number),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(self, number: usize) -> Result<candle_core::Device, ModelError> {
        candle_core::Device::new_cuda(number).map_err(|error| ModelError::NoDevice {
            wanted: self.to_string(),
            reason: format!(
                "{}; see that `nvidia-smi` lists it, or set the device to `cpu`",
                error.to_string().lines().next().unwrap_or_default()
            ),
        })
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(self, _number: usize) -> Result<candle_core::Device, ModelError> {
        Err(ModelError::NoDevice {
            wanted: self.to_string(),
            reason: "this binary was built without CUDA; build one with `--features cuda`, or set the device to `cpu`"
                .into(),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok();
        match text {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or_else(|| format!("`{text}` is no device; use cpu, cuda or cuda:N"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        assert!("gpu".parse::<Device>().unwrap_err().contains("cuda:N"));
        assert!("cuda:x".parse::<Device>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let error = Device::Cuda(0).open().unwrap_err().to_string();
        assert!(error.contains("cuda:0") && error.contains("--features cuda"), "{error}");
    }
}
