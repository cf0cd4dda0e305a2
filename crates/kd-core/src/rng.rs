//! Random numbers as a function of a seed, a name and a counter.
//!
//! A [`Stream`] is a pure value: the number at index `i` never depends on what was drawn before,
//! on the thread count or on construction order. The generator is Philox4x32-10 (Salmon et al.,
//! *Parallel random numbers: as easy as 1, 2, 3*, SC 2011), which GPUs compute as well.

use sha2::{Digest, Sha256};

/// A stream of random numbers: a 64-bit Philox key.
///
/// Derive one per purpose: `Stream::new(seed).at("init").at("fc1.weight")`,
/// `Stream::new(seed).at("shuffle").number(epoch)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// The root stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { key: split(seed) }
    }

    /// The key of the generator, for a GPU to draw the same numbers.
    #[cfg(feature = "cuda")]
    pub(crate) fn key(self) -> [u32; 2] {
        self.key
    }

    /// The stream called `name` below this one.
    pub fn at(self, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(join(self.key).to_le_bytes());
        hash.update(name.as_bytes());
        let digest = hash.finalize();
        let word =
            |i: usize| u32::from_le_bytes([digest[i], digest[i + 1], digest[i + 2], digest[i + 3]]);
        Self { key: [word(0), word(4)] }
    }

    /// The stream numbered `n` below this one (an epoch, a step, a sample): cheaper than a name.
    pub fn number(self, n: u64) -> Self {
        let [low, high] = split(n);
        // The last counter word keeps these draws apart from the stream's own numbers.
        let block = philox(self.key, [low, high, 0, 0x6e75_6d62]);
        Self { key: [block[0], block[1]] }
    }

    /// Four random words: block `i` of the stream.
    #[inline(always)]
    pub fn block(self, i: u64) -> [u32; 4] {
        let [low, high] = split(i);
        philox(self.key, [low, high, 0, 0])
    }

    /// Blocks `first..first + LANES`, word by word: `wide_block(i)[w][lane] == block(i + lane)[w]`.
    /// Written so that each lane of a SIMD register computes one block.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "a lane is a column of the four rows")]
    pub(crate) fn wide_block<const LANES: usize>(self, first: u64) -> [[u32; LANES]; 4] {
        let mut c = [[0u32; LANES]; 4];
        for lane in 0..LANES {
            [c[0][lane], c[1][lane]] = split(first + lane as u64);
        }
        let mut key = self.key;
        for _ in 0..ROUNDS {
            for lane in 0..LANES {
                let next = round(key, [c[0][lane], c[1][lane], c[2][lane], c[3][lane]]);
                [c[0][lane], c[1][lane], c[2][lane], c[3][lane]] = next;
            }
            key = next_key(key);
        }
        c
    }

    /// A generator that reads this stream from its beginning.
    pub fn rng(self) -> Rng {
        Rng { stream: self, next_block: 0, words: [0; 4], n_left: 0 }
    }

    /// A uniformly random permutation of `0..n` (Fisher-Yates).
    pub fn permutation(self, n: u32) -> Vec<u32> {
        let mut rng = self.rng();
        let mut order: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i as usize, rng.below(i + 1) as usize);
        }
        order
    }
}

/// Reads a [`Stream`] number by number.
#[derive(Debug, Clone)]
pub struct Rng {
    stream: Stream,
    next_block: u64,
    words: [u32; 4],
    n_left: usize,
}

impl Rng {
    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.n_left == 0 {
            self.words = self.stream.block(self.next_block);
            self.next_block += 1;
            self.n_left = 4;
        }
        self.n_left -= 1;
        self.words[3 - self.n_left]
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// Uniform in `[low, high)`.
    pub fn uniform_in(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform integer below `n` (> 0), without bias (Lemire 2019).
    pub fn below(&mut self, n: u32) -> u32 {
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Standard normal (Box-Muller, one of the pair).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }
}

/// The top 24 bits of `word` as a number in `[0, 1)`.
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Philox4x32 with 10 rounds.
#[inline(always)]
pub fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        counter = round(key, counter);
        key = next_key(key);
    }
    counter
}

const ROUNDS: usize = 10;

#[inline(always)]
fn round(key: [u32; 2], c: [u32; 4]) -> [u32; 4] {
    let a = u64::from(c[0]) * 0xD251_1F53;
    let b = u64::from(c[2]) * 0xCD9E_8D57;
    [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32]
}

#[inline(always)]
fn next_key(key: [u32; 2]) -> [u32; 2] {
    [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)]
}

#[inline(always)]
fn split(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

fn join(key: [u32; 2]) -> u64 {
    u64::from(key[0]) | u64::from(key[1]) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        // kat_vectors of the Random123 distribution, philox4x32 10.
        assert_eq!(philox([0, 0], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([!0, !0], [!0; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox(
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_wide_block_is_its_blocks_side_by_side() {
        let stream = Stream::new(6);
        let first = u64::from(u32::MAX) - 3;
        let wide = stream.wide_block::<16>(first);
        for (lane, i) in (first..first + 16).enumerate() {
            assert_eq!(stream.block(i), wide.map(|words| words[lane]));
        }
    }

    #[test]
    fn streams_differ_by_seed_name_and_number() {
        let root = Stream::new(1);
        let streams =
            [root, Stream::new(2), root.at("a"), root.at("b"), root.number(0), root.number(1)];
        for (i, a) in streams.iter().enumerate() {
            for b in &streams[i + 1..] {
                assert_ne!(a.block(0), b.block(0));
            }
        }
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut rng = Stream::new(3).rng();
        let n = 40_000;
        let uniform: Vec<f64> = (0..n).map(|_| f64::from(rng.uniform())).collect();
        let normal: Vec<f64> = (0..n).map(|_| f64::from(rng.normal())).collect();
        let moments = |xs: &[f64]| {
            let mean = xs.iter().sum::<f64>() / n as f64;
            (mean, xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let (mean, variance) = moments(&uniform);
        assert!((mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.002);
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
        let (mean, variance) = moments(&normal);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03);
    }

    #[test]
    fn below_is_even_and_in_range() {
        let mut rng = Stream::new(4).rng();
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c: &i32| (c - 10_000).abs() < 500), "{counts:?}");
    }

    #[test]
    fn a_permutation_visits_each_index_once() {
        let mut order = Stream::new(5).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &x)| i as u32 == x));
    }
}
