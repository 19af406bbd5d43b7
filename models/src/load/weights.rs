//! `model.safetensors`, read tensor by tensor and hashed on the way.
//!
//! No memory map and no second copy of the file: each tensor's bytes are read, hashed, decoded and dropped. Every
//! length is checked against the file's before anything is allocated for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{WEIGHTS_LIMIT, check_digest, check_size};
use crate::digest::{FileDigest, Hasher};
use crate::error::ModelError;
use crate::known::ModelFile;

/// The same limit as the safetensors library's.
const HEADER_LIMIT: u64 = 100_000_000;

/// A model's tensors in f32.
pub(crate) struct Weights {
    pub(crate) tensors: HashMap<String, Tensor>,
    /// The sha256 of the whole file.
    pub(crate) digest: FileDigest,
}

impl Weights {
    /// Reads `path` and, where `expected` is given, checks size and digest.
    pub(crate) fn read(path: &Path, expected: Option<&ModelFile>) -> Result<Self, ModelError> {
        let mut file = File::open(path).map_err(ModelError::io("open", path))?;
        let length = file.metadata().map_err(ModelError::io("read", path))?.len();
        if let Some(expected) = expected {
            check_size(path, expected.size, length)?;
        }
        if length > WEIGHTS_LIMIT {
            return Err(ModelError::TooLarge { path: path.to_path_buf(), limit: WEIGHTS_LIMIT });
        }
        let mut hasher = Hasher::new();
        let tensors = read_tensors(&mut file, length, &mut hasher, path);
        // A flipped byte may well break the header: then the digest is what tells the truth.
        if tensors.is_err() && expected.is_some() {
            hash_rest(&mut file, &mut hasher, path)?;
        }
        let digest = hasher.finish();
        if let Some(expected) = expected {
            check_digest(path, expected.sha256, digest)?;
        }
        Ok(Self { tensors: tensors?, digest })
    }

    /// Bytes of all tensors in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| (tensor.elem_count() * DType::F32.size_in_bytes()) as u64).sum()
    }

    /// What comes before `embeddings.` in the tensors' names: checkpoints of a model with a head have a prefix.
    pub(crate) fn prefix(&self) -> &'static str {
        const WORDS: &str = "embeddings.word_embeddings.weight";
        ["bert", "roberta", "mpnet"]
            .into_iter()
            .find(|prefix| self.tensors.contains_key(&format!("{prefix}.{WORDS}")))
            .unwrap_or_default()
    }
}

fn read_tensors(
    file: &mut File,
    length: u64,
    hasher: &mut Hasher,
    path: &Path,
) -> Result<HashMap<String, Tensor>, ModelError> {
    let refuse = |reason: String| ModelError::BadWeights { path: path.to_path_buf(), reason };
    if length < 8 {
        return Err(refuse(format!("is truncated: {length} bytes hold no safetensors header")));
    }
    let mut header_length = [0; 8];
    read_hashed(file, &mut header_length, hasher, path)?;
    let header_length = u64::from_le_bytes(header_length);
    if header_length > HEADER_LIMIT || header_length > length - 8 {
        return Err(refuse(format!(
            "is no safetensors file or is truncated: its header claims {header_length} of {length} bytes"
        )));
    }
    let mut header = vec![0; to_usize(header_length)];
    read_hashed(file, &mut header, hasher, path)?;
    // Sorted, gapless and consistent with shapes and types once it parses.
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| refuse(format!("has a bad safetensors header: {error}")))?;
    let promised = 8 + header_length + metadata.data_len() as u64;
    if promised != length {
        return Err(refuse(format!("has {length} bytes, its header promises {promised}: it is truncated or damaged")));
    }

    let mut tensors = HashMap::new();
    let mut bytes = Vec::new();
    for name in metadata.offset_keys() {
        let info = metadata.info(&name).expect("the name comes from the same header");
        bytes.resize(info.data_offsets.1 - info.data_offsets.0, 0);
        read_hashed(file, &mut bytes, hasher, path)?;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            // Position ids and their like: places are counted here.
            Dtype::I64 | Dtype::I32 | Dtype::U32 | Dtype::BOOL | Dtype::U8 => continue,
            other => {
                return Err(refuse(format!(
                    "tensor `{name}` has type {other:?}; f32, f16, bf16 and f64 are supported"
                )));
            }
        };
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| refuse(format!("tensor `{name}`: {error}")))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

fn read_hashed(file: &mut File, bytes: &mut [u8], hasher: &mut Hasher, path: &Path) -> Result<(), ModelError> {
    file.read_exact(bytes).map_err(ModelError::io("read", path))?;
    hasher.update(bytes);
    Ok(())
}

fn hash_rest(file: &mut File, hasher: &mut Hasher, path: &Path) -> Result<(), ModelError> {
    let mut bytes = vec![0; 1 << 20];
    loop {
        match file.read(&mut bytes).map_err(ModelError::io("read", path))? {
            0 => return Ok(()),
            read => hasher.update(&bytes[..read]),
        }
    }
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).expect("at most the header limit, which fits 32 bits")
}
