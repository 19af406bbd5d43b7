//! Scaled dot-product attention ("Attention Is All You Need", 2017, section 3.2.1) of one head over one text.
//!
//! Rows are a text's own tokens, so no mask is needed. Keys are turned once, so that scores are sums of products down
//! whole registers; four queries share each loaded register.

#![expect(clippy::needless_range_loop, reason = "loops over registers, which are unrolled")]

use super::Simd;
use super::elementwise::exp;

/// Queries that are worked on together.
const QUERIES: usize = 4;

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
        padded * size + QUERIES * padded
    }
}

/// # Safety
/// `head.rows` holds its rows, `head.bias` the range that it promises, `scratch` what [`Attention::scratch`] says.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd>(head: &Head, scratch: *mut f32) {
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
            let at: [*mut f32; QUERIES] = [0, 1, 2, 3].map(|n: usize| rows.add((query + n.min(count - 1)) * stride));
            scores::<S>(&at, keys, padded, size, weights);
            let mut scale = [0.0_f32; QUERIES];
            for n in 0..count {
                let bias = if bias.is_null() { bias } else { bias.sub(query + n) };
                scale[n] = softmax::<S>(weights.add(n * padded), tokens, padded, bias);
            }
            for n in count..QUERIES {
                scale[n] = scale[count - 1];
                std::ptr::copy_nonoverlapping(weights.add((count - 1) * padded), weights.add(n * padded), padded);
            }
            blend::<S>(&at, weights, padded, rows.add(2 * size), stride, tokens, size, &scale);
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

/// `weights[n][token] = sum over d of queries[n][d] keys[d][token]`.
#[inline(always)]
unsafe fn scores<S: Simd>(
    queries: &[*mut f32; QUERIES],
    keys: *const f32,
    padded: usize,
    size: usize,
    weights: *mut f32,
) {
    let mut token = 0;
    while token < padded {
        // SAFETY: `token + LANES <= padded`; queries hold `size` values, keys `size` rows of `padded`.
        unsafe {
            let mut sums = [S::splat(0.0); QUERIES];
            for d in 0..size {
                let key = S::load(keys.add(d * padded + token));
                for n in 0..QUERIES {
                    sums[n] = S::fma(S::splat(*queries[n].add(d)), key, sums[n]);
                }
            }
            for n in 0..QUERIES {
                S::store(weights.add(n * padded + token), sums[n]);
            }
        }
        token += S::LANES;
    }
}

/// Exponentials of `row + bias` less its greatest; zero from `tokens` on. Returns one over their sum.
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
        at = 0;
        while at < padded {
            S::store(row.add(at), exp::<S>(S::sub(S::load(row.add(at)), greatest)));
            at += S::LANES;
        }
        for token in tokens..padded {
            *row.add(token) = 0.0;
        }
        let mut sum = S::splat(0.0);
        at = 0;
        while at < padded {
            sum = S::add(sum, S::load(row.add(at)));
            at += S::LANES;
        }
        1.0 / S::sum(sum)
    }
}

/// `queries[n] = scale[n] * sum over tokens of weights[n][token] values[token]`, two registers of values at a time.
#[expect(clippy::too_many_arguments, reason = "one step of `attend`, split off to be read")]
#[inline(always)]
unsafe fn blend<S: Simd>(
    queries: &[*mut f32; QUERIES],
    weights: *const f32,
    padded: usize,
    values: *const f32,
    stride: usize,
    tokens: usize,
    size: usize,
    scale: &[f32; QUERIES],
) {
    // A register of 16 lanes takes a head part of 16 whole; of two narrower ones, both.
    let second = if S::LANES == 16 { 0 } else { S::LANES };
    let step = second + S::LANES;
    let mut d = 0;
    while d < size {
        // SAFETY: `d + step <= size`, a multiple of 16; values hold `tokens` rows.
        unsafe {
            let mut sums = [[S::splat(0.0); 2]; QUERIES];
            for token in 0..tokens {
                let value = values.add(token * stride + d);
                let (low, high) = (S::load(value), S::load(value.add(second)));
                for n in 0..QUERIES {
                    let weight = S::splat(*weights.add(n * padded + token));
                    sums[n][0] = S::fma(weight, low, sums[n][0]);
                    if second > 0 {
                        sums[n][1] = S::fma(weight, high, sums[n][1]);
                    }
                }
            }
            for n in 0..QUERIES {
                S::store(queries[n].add(d), S::mul(sums[n][0], S::splat(scale[n])));
                if second > 0 {
                    S::store(queries[n].add(d + second), S::mul(sums[n][1], S::splat(scale[n])));
                }
            }
        }
        d += step;
    }
}
