//! Weights as 8-bit integers, one scale for each output channel.

/// What an instruction of processors without VNNI adds up in 16 bits: two neighbouring products. With
/// activations up to 255 it does so exactly where the integers of two neighbours of one sign have
/// together at most 128; rounding adds one to the sum at most.
const MOST_OF_TWO: f32 = 127.0;
/// The most that one integer is.
const MOST: f32 = 127.0;
/// A bias must fit 32 bits, with room for what is added to it.
const MOST_OF_BIAS: f32 = (1u32 << 30) as f32;

/// A convolution or a linear layer, rounded in place.
pub(super) struct Layer {
    /// `(O, I / groups, taps)`, row by row.
    pub(super) weights: Vec<f32>,
    /// One for each output channel.
    pub(super) biases: Vec<f32>,
    /// Taps of the kernel: 1 for a linear layer.
    pub(super) n_taps: usize,
    /// Groups of channels that do not meet.
    pub(super) n_groups: usize,
}

impl Layer {
    /// Rounds all numbers, for an input with levels `of_input` apart whose channels have the means
    /// `means`; gives the scale of each output channel.
    pub(super) fn round(&mut self, of_input: f32, means: &[f32]) -> Vec<f32> {
        let (n_out, n_taps) = (self.biases.len(), self.n_taps);
        let (each, n_read) = (self.weights.len() / n_out, self.weights.len() / n_out / n_taps);
        let is_depthwise = self.n_groups > 1 && n_read == 1;
        let channels = self.weights.chunks_mut(each).zip(&mut self.biases).enumerate();
        let round = |(i, (weights, bias)): (usize, (&mut [f32], &mut f32))| {
            let scale = Channel { weights, n_taps, is_depthwise }.scale(*bias, of_input);
            let group = i / (n_out / self.n_groups);
            let of_inputs = means[group * n_read..][..n_read].iter();
            for (weights, mean) in weights.chunks_mut(n_taps).zip(of_inputs) {
                for weight in weights {
                    let exact = std::mem::replace(weight, rounded(*weight, scale, MOST));
                    *bias -= (*weight - exact) * mean;
                }
            }
            *bias = rounded(*bias, scale * of_input, 2.0 * MOST_OF_BIAS);
            scale
        };
        channels.map(round).collect()
    }
}

/// The numbers of an output channel and their order.
#[derive(Debug, Clone, Copy)]
struct Channel<'a> {
    /// `(I / groups, taps)`, row by row.
    weights: &'a [f32],
    n_taps: usize,
    /// Whether the channel is one of a depthwise convolution, which is summed in 32 bits.
    is_depthwise: bool,
}

impl Channel<'_> {
    /// The scale: as small as it can be with every integer in `-127..=127`, sums of neighbours exact,
    /// and the bias, whose scale is this one times `of_input`, in 32 bits.
    fn scale(&self, bias: f32, of_input: f32) -> f32 {
        let most = self.weights.iter().fold(0.0f32, |most, w| most.max(w.abs())) / MOST;
        let of_two = if self.is_depthwise { 0.0 } else { self.most_of_two() / MOST_OF_TWO };
        let of_bias = bias.abs() / (of_input * MOST_OF_BIAS);
        let scale = most.max(of_two).max(of_bias);
        if scale.is_normal() { scale } else { 1.0 }
    }

    /// The largest sum of two neighbours of one sign, with the channels or the taps in the inner loop:
    /// engines do either.
    fn most_of_two(&self) -> f32 {
        let n_in = self.weights.len() / self.n_taps.max(1);
        let at = |i: usize| self.weights[i % n_in * self.n_taps + i / n_in];
        let channels_inside: Vec<f32> = (0..self.weights.len()).map(at).collect();
        of_neighbours(self.weights).max(of_neighbours(&channels_inside))
    }
}

fn of_neighbours(weights: &[f32]) -> f32 {
    let of_one_sign = |two: &[f32]| {
        let above: f32 = two.iter().map(|w| w.max(0.0)).sum();
        let below: f32 = two.iter().map(|w| w.min(0.0)).sum();
        above.max(-below)
    };
    weights.chunks(2).map(of_one_sign).fold(0.0, f32::max)
}

/// The multiple of `scale` next to `value`, at most `most` of them.
fn rounded(value: f32, scale: f32, most: f32) -> f32 {
    (value / scale).round_ties_even().clamp(-most, most) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(weights: &[f32], n_taps: usize, is_depthwise: bool) -> f32 {
        Channel { weights, n_taps, is_depthwise }.scale(0.0, 1.0)
    }

    #[test]
    fn neighbours_of_one_sign_share_seven_bits() {
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a}, {b}");
        close(scale(&[1.27, -1.0], 1, false), 0.01);
        close(scale(&[1.27, 1.27], 1, false), 0.02);
        close(scale(&[1.27, 1.27], 1, true), 0.01);
        // Two channels of two taps: neighbours are taps, or channels.
        close(scale(&[1.0, 0.0, 0.27, 1.27], 2, false), 0.0154 / 1.27);
        close(scale(&[1.0, 0.0, 1.54, 0.0], 2, false), 0.02);
        close(scale(&[0.0, 0.0], 1, false), 1.0);
    }

    #[test]
    fn integers_never_saturate_sixteen_bits() {
        let wave = |i: usize| ((i * i) as f32 * 0.37).sin();
        let weights: Vec<f32> = (0..64 * 9).map(wave).collect();
        let scale = scale(&weights, 9, false);
        let integers: Vec<i32> =
            weights.iter().map(|w| (rounded(*w, scale, MOST) / scale).round() as i32).collect();
        for two in integers.chunks(2) {
            for [a, b] in [[255, 255], [255, 0], [0, 255]] {
                let sum = a * two[0] + b * two[1];
                assert!(i16::try_from(sum).is_ok(), "{two:?}: {sum}");
            }
        }
    }

    #[test]
    fn a_large_bias_of_small_weights_fits_its_integer() {
        let channel = Channel { weights: &[1e-9, 0.0], n_taps: 1, is_depthwise: false };
        let scale = channel.scale(3.0, 0.02) * 0.02;
        assert!((3.0 / scale) <= MOST_OF_BIAS * 1.001);
        assert!((rounded(3.0, scale, 2.0 * MOST_OF_BIAS) - 3.0).abs() < 1e-6);
    }

    #[test]
    fn biases_make_up_for_what_rounding_adds_to_the_means() {
        let wave = |i: usize| ((i * i) as f32 * 0.37).sin();
        let exact: Vec<f32> = (0..6 * 2 * 9).map(wave).collect();
        let means = [0.5, 2.0, 1.0, 3.0];
        let mut layer =
            Layer { weights: exact.clone(), biases: vec![1.0; 6], n_taps: 9, n_groups: 2 };
        let scales = layer.round(0.01, &means);
        let of = |weights: &[f32], c: usize| -> f32 {
            let row = weights[c * 18..][..18].chunks(9).enumerate();
            row.map(|(k, taps)| taps.iter().sum::<f32>() * means[c / 3 * 2 + k]).sum()
        };
        for (c, scale) in scales.iter().enumerate() {
            let far = of(&layer.weights, c) + layer.biases[c] - of(&exact, c) - 1.0;
            assert!(far.abs() <= 0.5 * 0.01 * scale + 1e-4, "{c}: {far}");
            assert!((of(&layer.weights, c) - of(&exact, c)).abs() > 1e-3 || *scale < 1e-3);
        }
    }
}
