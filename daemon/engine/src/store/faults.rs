//! The store over a disk that fails and loses its power: what was acknowledged is there afterwards, what was never asked for is
//! not, and nothing is there by half.
//!
//! `FITMENT_POWER_CUTS=1000` makes the long form of it.

mod bits;
mod disk;
mod lives;
mod world;

use self::disk::{Dice, Disk};
