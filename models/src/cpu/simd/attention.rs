//! Scaled dot-product attention ("Attention Is All You Need", 2017, section 3.2.1) of one head over one text.
//!
//! Rows are a text's own tokens, so no mask is needed. Keys are turned once, so that scores are sums of products down
//! whole registers; a few queries share each loaded register.

#![expect(clippy::needless_range_loop, reason = "loops over registers, which are unrolled")]

use super::Simd;
use super::elementwise::exp;

/// The most queries that are worked on together.
const MAX_QUERIES: usize = 8;

/// One head over one text.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Head {
    /// `[tokens]` rows of `[3][size]`: query (scaled already), key, value. The query's place takes the result.
    pub(in crate::cpu) rows: *mut f32,
    /// Values from one row to the next.
    pub(in crate::cpu) stride: usize,
    /// Tokens of the text, at least 1.
    pub(in crate::cpu) tokens: usize,
    /// Values of a query, key or value: a multiple of 16.
    pub(in crate::cpu) size: usize,
    /// Added to the score of a key `d` places after its query, at `bias + d`, for `d` in `-(tokens - 1)` to
    /// `tokens + 14`; null for none.
    pub(in crate::cpu) bias: *const f32,
}

/// The scratch that attention needs.
pub(in crate::cpu) struct Attention;

impl Attention {
    /// Values of scratch for a text of `tokens` tokens and heads of `size`.
    pub(in crate::cpu) fn scratch(tokens: usize, size: usize) -> usize {
        let padded = tokens.next_multiple_of(16);
        padded * size + MAX_QUERIES * padded
    }
}

/// `QUERIES` of the text at a time, which with two registers of keys or values fill the processor's registers.
///
/// # Safety
/// `head.rows` holds its rows, `head.bias` the range that it promises, `scratch` what [`Attention::scratch`] says.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd, const QUERIES: usize>(head: &Head, scratch: *mut f32) {
    const { assert!(QUERIES <= MAX_QUERIES) };
    let Head { rows, stride, tokens, size, bias } = *head;
    let padded = tokens.next_multiple_of(16);
    // SAFETY: keys take `size * padded` values of the scratch and weights the `QUERIES * padded` after them; rows are
    // read and written below `tokens` only, within their three parts of `size`.
    unsafe {
        let keys = scratch;
        let weights = scratch.add(size * padded);
        turn(rows.add(size), stride, tokens, size, keys, padded);
        let mut query = 0;
        while query < tokens {
            let count = QUERIES.min(tokens - query);
            // The last queries of a text are worked on again with their neighbours gone: rows past the end repeat the last.
            let at: [*mut f32; QUERIES] = std::array::from_fn(|n| rows.add((query + n.min(count - 1)) * stride));
            scores::<S, QUERIES>(&at, keys, padded, size, weights);
            let mut scale = [0.0_f32; QUERIES];
            for n in 0..count {
                let bias = if bias.is_null() { bias } else { bias.sub(query + n) };
                scale[n] = softmax::<S>(weights.add(n * padded), tokens, padded, bias);
            }
            for n in count..QUERIES {
                scale[n] = scale[count - 1];
                std::ptr::copy_nonoverlapping(weights.add((count - 1) * padded), weights.add(n * padded), padded);
            }
            blend::<S, QUERIES>(&at, weights, padded, rows.add(2 * size), stride, tokens, size, &scale);
            query += QUERIES;
        }
    }
}

/// `keys[d][token] = rows[token][d]`, zero from `tokens` to `padded`.
#[inline(always)]
unsafe fn turn(rows: *const f32, stride: usize, tokens: usize, size: usize, keys: *mut f32, padded: usize) {
    // SAFETY: the caller's places hold `tokens` rows of `size` and `size` rows of `padded`.
    unsafe {
        for d in 0..size {
            let to = keys.add(d * padded);
            for token in 0..tokens {
                *to.add(token) = *rows.add(token * stride + d);
            }
            for token in tokens..padded {
                *to.add(token) = 0.0;
            }
        }
    }
}

/// `weights[n][token] = sum over d of queries[n][d] keys[d][token]`, two registers of tokens at a time.
#[inline(always)]
unsafe fn scores<S: Simd, const QUERIES: usize>(
    queries: &[*mut f32; QUERIES],
    keys: *const f32,
    padded: usize,
    size: usize,
    weights: *mut f32,
) {
    let mut token = 0;
    // SAFETY: what is read and written ends at `padded`, a multiple of LANES.
    unsafe {
        while token + 2 * S::LANES <= padded {
            score::<S, QUERIES, 2>(queries, keys.add(token), padded, size, weights.add(token));
            token += 2 * S::LANES;
        }
        while token < padded {
            score::<S, QUERIES, 1>(queries, keys.add(token), padded, size, weights.add(token));
            token += S::LANES;
        }
    }
}

/// As [`scores`], of the first `REGISTERS` registers of tokens.
#[inline(always)]
unsafe fn score<S: Simd, const QUERIES: usize, const REGISTERS: usize>(
    queries: &[*mut f32; QUERIES],
    keys: *const f32,
    padded: usize,
    size: usize,
    weights: *mut f32,
) {
    // SAFETY: queries hold `size` values; `size` rows of keys and one of weights a query lie `padded` apart.
    unsafe {
        let mut sums = [[S::splat(0.0); REGISTERS]; QUERIES];
        for d in 0..size {
            let key: [S::V; REGISTERS] = std::array::from_fn(|r| S::load(keys.add(d * padded + r * S::LANES)));
            for n in 0..QUERIES {
                let query = S::splat(*queries[n].add(d));
                for r in 0..REGISTERS {
                    sums[n][r] = S::fma(query, key[r], sums[n][r]);
                }
            }
        }
        for n in 0..QUERIES {
            for r in 0..REGISTERS {
                S::store(weights.add(n * padded + r * S::LANES), sums[n][r]);
            }
        }
    }
}

/// Exponentials of `row + bias` less its greatest, whatever from `tokens` on. Returns one over their sum.
#[inline(always)]
unsafe fn softmax<S: Simd>(row: *mut f32, tokens: usize, padded: usize, bias: *const f32) -> f32 {
    // SAFETY: the row holds `padded` values, the bias (where there is one) as many; LANES divides `padded`.
    unsafe {
        let mut at = 0;
        if !bias.is_null() {
            while at < padded {
                S::store(row.add(at), S::add(S::load(row.add(at)), S::load(bias.add(at))));
                at += S::LANES;
            }
        }
        for token in tokens..padded {
            *row.add(token) = f32::MIN;
        }
        let mut greatest = S::splat(f32::MIN);
        at = 0;
        while at < padded {
            greatest = S::max(greatest, S::load(row.add(at)));
            at += S::LANES;
        }
        let greatest = S::splat(S::greatest(greatest));
        let mut sum = S::splat(0.0);
        at = 0;
        while at < padded {
            // Past the last token it is e^-87 at most, which no sum of f32 beside 1 feels.
            let weight = exp::<S>(S::sub(S::load(row.add(at)), greatest));
            S::store(row.add(at), weight);
            sum = S::add(sum, weight);
            at += S::LANES;
        }
        1.0 / S::sum(sum)
    }
}

/// `queries[n] = scale[n] * sum over tokens of weights[n][token] values[token]`, two registers of values at a time.
#[expect(clippy::too_many_arguments, reason = "one step of `attend`, split off to be read")]
#[inline(always)]
unsafe fn blend<S: Simd, const QUERIES: usize>(
    queries: &[*mut f32; QUERIES],
    weights: *const f32,
    padded: usize,
    values: *const f32,
    stride: usize,
    tokens: usize,
    size: usize,
    scale: &[f32; QUERIES],
) {
    let mut d = 0;
    // SAFETY: what is read of values and written of queries ends at `size`, a multiple of LANES.
    unsafe {
        while d + 2 * S::LANES <= size {
            sum::<S, QUERIES, 2>(queries, weights, padded, values, stride, tokens, d, scale);
            d += 2 * S::LANES;
        }
        while d < size {
            sum::<S, QUERIES, 1>(queries, weights, padded, values, stride, tokens, d, scale);
            d += S::LANES;
        }
    }
}

/// As [`blend`], of `REGISTERS` registers of values from `d` on.
#[expect(clippy::too_many_arguments, reason = "as `blend`")]
#[inline(always)]
unsafe fn sum<S: Simd, const QUERIES: usize, const REGISTERS: usize>(
    queries: &[*mut f32; QUERIES],
    weights: *const f32,
    padded: usize,
    values: *const f32,
    stride: usize,
    tokens: usize,
    d: usize,
    scale: &[f32; QUERIES],
) {
    // SAFETY: values hold `tokens` rows, weights one of `padded` for each query.
    unsafe {
        let mut sums = [[S::splat(0.0); REGISTERS]; QUERIES];
        for token in 0..tokens {
            let value = values.add(token * stride + d);
            let value: [S::V; REGISTERS] = std::array::from_fn(|r| S::load(value.add(r * S::LANES)));
            for n in 0..QUERIES {
                let weight = S::splat(*weights.add(n * padded + token));
                for r in 0..REGISTERS {
                    sums[n][r] = S::fma(weight, value[r], sums[n][r]);
                }
            }
        }
        for n in 0..QUERIES {
            for r in 0..REGISTERS {
                S::store(queries[n].add(d + r * S::LANES), S::mul(sums[n][r], S::splat(scale[n])));
            }
        }
    }
}
