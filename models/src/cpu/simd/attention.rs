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
        let weights: [*mut f32; QUERIES] = std::array::from_fn(|n| scratch.add((size + n) * padded));
        turn(rows.add(size), stride, tokens, size, keys, padded);
        let keys = Rows { first: keys, stride: padded, count: size };
        let values = Rows { first: rows.add(2 * size), stride, count: tokens };
        let mut query = 0;
        while query < tokens {
            let count = QUERIES.min(tokens - query);
            // The last queries of a text are worked on again with their neighbours gone: rows past the end repeat the last.
            let at: [*mut f32; QUERIES] = std::array::from_fn(|n| rows.add((query + n.min(count - 1)) * stride));
            multiply::<S, QUERIES>(&at.map(<*mut f32>::cast_const), keys, padded, &[1.0; QUERIES], &weights);
            let mut scale = [0.0_f32; QUERIES];
            for n in 0..count {
                let bias = if bias.is_null() { bias } else { bias.sub(query + n) };
                scale[n] = softmax::<S>(weights[n], tokens, padded, bias);
            }
            for n in count..QUERIES {
                scale[n] = scale[count - 1];
                std::ptr::copy_nonoverlapping(weights[count - 1], weights[n], padded);
            }
            multiply::<S, QUERIES>(&weights.map(<*mut f32>::cast_const), values, size, &scale, &at);
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

/// The right side of a product.
#[derive(Clone, Copy)]
struct Rows {
    first: *const f32,
    /// Values from one row to the next.
    stride: usize,
    count: usize,
}

/// `to[n][column] = scale[n] * sum over k of left[n][k] right[k][column]` for `width` columns, a multiple of LANES, two registers of them
/// at a time.
#[inline(always)]
unsafe fn multiply<S: Simd, const QUERIES: usize>(
    left: &[*const f32; QUERIES],
    right: Rows,
    width: usize,
    scale: &[f32; QUERIES],
    to: &[*mut f32; QUERIES],
) {
    let mut column = 0;
    // SAFETY: what is read of `right` and written ends at `width`.
    unsafe {
        while column + 2 * S::LANES <= width {
            strip::<S, QUERIES, 2>(left, right, column, scale, to);
            column += 2 * S::LANES;
        }
        while column < width {
            strip::<S, QUERIES, 1>(left, right, column, scale, to);
            column += S::LANES;
        }
    }
}

/// As [`multiply`], of `REGISTERS` registers from `column` on.
#[inline(always)]
unsafe fn strip<S: Simd, const QUERIES: usize, const REGISTERS: usize>(
    left: &[*const f32; QUERIES],
    right: Rows,
    column: usize,
    scale: &[f32; QUERIES],
    to: &[*mut f32; QUERIES],
) {
    // SAFETY: each of `left` holds a value for each row of `right`; those and each of `to` hold the columns.
    unsafe {
        let mut sums = [[S::splat(0.0); REGISTERS]; QUERIES];
        for k in 0..right.count {
            let row = right.first.add(k * right.stride + column);
            let row: [S::V; REGISTERS] = std::array::from_fn(|r| S::load(row.add(r * S::LANES)));
            for n in 0..QUERIES {
                let value = S::splat(*left[n].add(k));
                for r in 0..REGISTERS {
                    sums[n][r] = S::fma(value, row[r], sums[n][r]);
                }
            }
        }
        for n in 0..QUERIES {
            for r in 0..REGISTERS {
                S::store(to[n].add(column + r * S::LANES), S::mul(sums[n][r], S::splat(scale[n])));
            }
        }
    }
}
