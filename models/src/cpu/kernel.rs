//! Which instructions multiply, and how exactly: chosen by what this processor has.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::product;
#[cfg(target_arch = "aarch64")]
use super::simd::NEON;
#[cfg(target_arch = "x86_64")]
use super::simd::{AVX2, AVX512};
use super::simd::{PORTABLE, Routines};
use crate::error::ModelError;

/// The type that weights and the inputs of products are held in. Sums, softmax, activation and norms are f32, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits of significand: the reference.
    F32,
    /// bfloat16, 8 bits of significand: cosine to f32 at least 0.9999, in `MPNet` 0.9995. Half the weights to read.
    Bf16,
    /// IEEE 754 binary16, 11 bits of significand, everything between the products too: cosine to f32 at least 0.9999. candle's alone,
    /// for CUDA devices.
    F16,
    /// Bytes, quantised a column of weights and a row of inputs: mean cosine to f32 at least 0.9985. A quarter.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::F16, Self::Int8];

    /// The name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a weight.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Rows of a weight matrix's depth that lie interleaved in a packed panel.
    pub(super) fn group(self) -> usize {
        4 / self.bytes()
    }

    /// Packed depths are multiples of this: the bytes of a tile's row.
    pub(super) fn depth_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 | Self::F16 | Self::Int8 => 64 / self.bytes(),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL;
        all.into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no precision; use {}", all.map(Self::as_str).join(", ")))
    }
}

/// Instructions and precision of the products. The first that is available and not int8 is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Tiles of bfloat16 (Intel, Sapphire Rapids and later).
    AmxBf16,
    /// Tiles of bytes.
    AmxInt8,
    /// `AVX512_BF16`: AMD Zen 4 and later, Intel Cooper Lake and later.
    Avx512Bf16,
    /// `AVX512_VNNI` on bytes.
    Avx512Int8,
    /// AVX-512 foundation.
    Avx512F32,
    /// AVX2 with FMA.
    Avx2F32,
    /// NEON, on every aarch64 processor.
    NeonF32,
    /// Whatever the build's target has.
    PortableF32,
}

impl Kernel {
    /// All of them, fastest first.
    pub const ALL: [Self; 8] = [
        Self::AmxInt8,
        Self::AmxBf16,
        Self::Avx512Int8,
        Self::Avx512Bf16,
        Self::Avx512F32,
        Self::Avx2F32,
        Self::NeonF32,
        Self::PortableF32,
    ];

    /// The name in configurations, server info and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmxBf16 => "amx-bf16",
            Self::AmxInt8 => "amx-int8",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512Int8 => "avx512-int8",
            Self::Avx512F32 => "avx512-f32",
            Self::Avx2F32 => "avx2-f32",
            Self::NeonF32 => "neon-f32",
            Self::PortableF32 => "portable-f32",
        }
    }

    /// What it computes in.
    pub fn precision(self) -> Precision {
        match self {
            Self::AmxBf16 | Self::Avx512Bf16 => Precision::Bf16,
            Self::AmxInt8 | Self::Avx512Int8 => Precision::Int8,
            Self::Avx512F32 | Self::Avx2F32 | Self::NeonF32 | Self::PortableF32 => Precision::F32,
        }
    }

    /// The kernels that this processor and system run, fastest first. Each has multiplied a small matrix and agreed with
    /// plain arithmetic: an instruction that is there and computes something else is not used.
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Kernel>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            Self::ALL.into_iter().filter(|&kernel| has_instructions(kernel) && product::agrees(kernel)).collect()
        })
    }

    /// The fastest available kernel of `precision`; of the precisions that lose nothing worth speaking of when it is
    /// `None`.
    ///
    /// # Errors
    /// [`ModelError::NoKernel`] when this processor has none of that precision.
    pub fn choose(precision: Option<Precision>) -> Result<Self, ModelError> {
        Self::available()
            .iter()
            .copied()
            .find(|kernel| match precision {
                Some(precision) => kernel.precision() == precision,
                None => kernel.precision() != Precision::Int8,
            })
            .ok_or_else(|| ModelError::NoKernel {
                wanted: precision.map_or_else(|| "any".to_owned(), |precision| precision.to_string()),
                available: names(Self::available()),
            })
    }

    /// What lies between two products, in the widest registers that this kernel implies.
    pub(super) fn routines(self) -> Routines {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::AmxBf16 | Self::AmxInt8 | Self::Avx512Bf16 | Self::Avx512Int8 | Self::Avx512F32 => AVX512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2F32 => AVX2,
            #[cfg(target_arch = "aarch64")]
            Self::NeonF32 => NEON,
            _ => PORTABLE,
        }
    }

    /// This kernel, if this processor runs it.
    ///
    /// # Errors
    /// [`ModelError::NoKernel`].
    pub fn checked(self) -> Result<Self, ModelError> {
        if Self::available().contains(&self) {
            return Ok(self);
        }
        Err(ModelError::NoKernel { wanted: self.to_string(), available: names(Self::available()) })
    }
}

fn names(kernels: &[Kernel]) -> String {
    kernels.iter().map(|kernel| kernel.as_str()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL;
        all.into_iter()
            .find(|kernel| kernel.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no kernel; use {}", names(&all)))
    }
}

#[cfg(target_arch = "x86_64")]
fn has_instructions(kernel: Kernel) -> bool {
    use std::arch::is_x86_feature_detected as has;
    match kernel {
        Kernel::AmxBf16 => tiles::allowed(tiles::BF16) && has!("avx512f") && has!("avx512bf16"),
        Kernel::AmxInt8 => tiles::allowed(tiles::INT8) && has!("avx512f") && has!("avx512vnni"),
        Kernel::Avx512Bf16 => has!("avx512f") && has!("avx512bf16"),
        Kernel::Avx512Int8 => has!("avx512f") && has!("avx512vnni"),
        Kernel::Avx512F32 => has!("avx512f"),
        Kernel::Avx2F32 => has!("avx2") && has!("fma"),
        Kernel::NeonF32 => false,
        Kernel::PortableF32 => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions(kernel: Kernel) -> bool {
    match kernel {
        Kernel::NeonF32 => cfg!(target_arch = "aarch64"),
        Kernel::PortableF32 => true,
        _ => false,
    }
}

/// AMX: what the processor reports, and the permission that Linux wants to be asked for.
#[cfg(target_arch = "x86_64")]
mod tiles {
    /// Bits of `CPUID.(EAX=7, ECX=0):EDX`.
    pub(super) const BF16: u32 = 1 << 22;
    pub(super) const INT8: u32 = 1 << 25;
    const TILE: u32 = 1 << 24;

    /// Whether tiles and `feature` are there and this process may use them.
    pub(super) fn allowed(feature: u32) -> bool {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        #[allow(unused_unsafe, reason = "safe from some release of Rust on")]
        // SAFETY: every x86-64 processor has CPUID; leaf 7 is asked for where leaf 0 lists it.
        let features = unsafe { if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 } };
        let wanted = TILE | feature;
        features & wanted == wanted && granted()
    }

    /// Asks the system for the tiles' state; remembered by the system for all threads that start later.
    #[cfg(target_os = "linux")]
    fn granted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: the call takes two numbers and changes nothing but this process's permission. The system also checks
        // that it saves the state.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn granted() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.as_str().parse::<Kernel>().unwrap(), kernel);
            assert!(kernel.as_str().ends_with(kernel.precision().as_str()));
        }
        assert!("avx9000".parse::<Kernel>().unwrap_err().contains("portable-f32"));
        assert!("f64".parse::<Precision>().unwrap_err().contains("bf16"));
    }

    #[test]
    fn there_is_always_one_and_int8_is_never_the_default() {
        assert!(Kernel::available().contains(&Kernel::PortableF32));
        assert_ne!(Kernel::choose(None).unwrap().precision(), Precision::Int8);
        assert_eq!(Kernel::choose(Some(Precision::F32)).unwrap().precision(), Precision::F32);
        let absent = Kernel::ALL.into_iter().find(|kernel| !Kernel::available().contains(kernel)).unwrap();
        let error = absent.checked().unwrap_err().to_string();
        assert!(error.contains(absent.as_str()) && error.contains("portable-f32"), "{error}");
    }
}
