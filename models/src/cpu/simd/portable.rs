//! Any processor: eight lanes as an array, which compilers turn into whatever registers there are.

use super::Simd;

/// No instructions beyond the target's own.
pub(in crate::cpu) struct Portable;

/// The number that pushes a fraction out of an f32's significand.
const TO_INTEGER: f32 = 12_582_912.0;

impl Simd for Portable {
    const LANES: usize = 8;
    type V = [f32; 8];

    lanes! {
        load(from: *const f32) -> [f32; 8] { from.cast::<[f32; 8]>().read_unaligned() }
        store(to: *mut f32, v: [f32; 8]) -> () { to.cast::<[f32; 8]>().write_unaligned(v) }
        splat(x: f32) -> [f32; 8] { [x; 8] }
        add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| a + b) }
        sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| a - b) }
        mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| a * b) }
        div(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| a / b) }
        max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| if a > b { a } else { b }) }
        min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] { zip(a, b, |a, b| if a < b { a } else { b }) }
        // Two roundings: a fused product would be a call where the target has no instruction for it.
        fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] { zip(zip(a, b, |a, b| a * b), c, |ab, c| ab + c) }
        round(a: [f32; 8]) -> [f32; 8] { a.map(|a| (a + TO_INTEGER) - TO_INTEGER) }
        power_of_two(n: [f32; 8]) -> [f32; 8] {
            n.map(|n| f32::from_bits((n + (TO_INTEGER + 127.0)).to_bits() << 23))
        }
        sum(a: [f32; 8]) -> f32 { ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])) }
        greatest(a: [f32; 8]) -> f32 { a.into_iter().fold(f32::MIN, f32::max) }
    }
}

#[inline(always)]
fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

routines!(Portable, queries 4);
