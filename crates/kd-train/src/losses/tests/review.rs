//! Knowledge review as its paper draws it, in plain loops.

use super::arrays::*;

/// A map `(H, W, C)` of one image.
#[derive(Clone)]
struct Map {
    side: usize,
    places: Vec<Vec<f64>>,
}

impl Map {
    fn of(part: &Array, i: usize) -> Self {
        let places = part.places(i);
        Self { side: (places.len() as f64).sqrt() as usize, places }
    }

    fn each(&self, f: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        Self { side: self.side, places: self.places.iter().map(|p| f(p)).collect() }
    }

    /// Each place repeated, or means of windows.
    fn sized(&self, side: usize) -> Self {
        let at = |h: usize, w: usize| {
            if side >= self.side {
                let times = side / self.side;
                return self.places[h / times * self.side + w / times].clone();
            }
            let size = self.side / side;
            let window = (0..size * size).map(|k| (h * size + k / size, w * size + k % size));
            let window: Vec<_> =
                window.map(|(h, w)| self.places[h * self.side + w].clone()).collect();
            mean_of_rows(&window)
        };
        let all = (0..side).flat_map(|h| (0..side).map(move |w| (h, w)));
        Self { side, places: all.map(|(h, w)| at(h, w)).collect() }
    }

    /// 3x3 windows, zeros around the map.
    fn windows(&self, weight: &Array) -> Self {
        let [n_out, n_in] = [weight.dims[0], weight.dims[1]];
        let side = self.side as isize;
        let at = |h: isize, w: isize, o: usize| {
            let mut sum = 0.0;
            for (dh, dw) in (0..9).map(|k| (k / 3, k % 3)) {
                let (y, x) = (h + dh - 1, w + dw - 1);
                if (0..side).contains(&y) && (0..side).contains(&x) {
                    let place = &self.places[(y * side + x) as usize];
                    let tap = |c: usize| {
                        weight.values[((o * n_in + c) * 3 + dh as usize) * 3 + dw as usize]
                    };
                    sum += (0..n_in).map(|c| tap(c) * place[c]).sum::<f64>();
                }
            }
            sum
        };
        let all = (0..side).flat_map(|h| (0..side).map(move |w| (h, w)));
        let places = all.map(|(h, w)| (0..n_out).map(|o| at(h, w, o)).collect()).collect();
        Self { side: self.side, places }
    }
}

/// Batch norm over all places of all images.
fn batch_norm(maps: &[Map], gamma: &Array, beta: &Array) -> Vec<Map> {
    let all: Vec<Vec<f64>> = maps.iter().flat_map(|map| map.places.clone()).collect();
    let means = mean_of_rows(&all);
    let scale = |k: usize| {
        let variance = mean(all.iter().map(|p| (p[k] - means[k]).powi(2)));
        gamma.values[k] / (variance + 1e-5).sqrt()
    };
    let scales: Vec<f64> = (0..means.len()).map(scale).collect();
    let one = |p: &[f64]| {
        (0..p.len()).map(|k| (p[k] - means[k]) * scales[k] + beta.values[k]).collect::<Vec<_>>()
    };
    maps.iter().map(|map| map.each(one)).collect()
}

pub(super) fn review(x: &Inputs) -> f64 {
    let names = ["stage:1", "stage:2", "stage:3", "pooled"];
    let mut deeper: Option<Vec<Map>> = None;
    let mut sum = 0.0;
    for (k, name) in names.iter().enumerate().rev() {
        let own = |part: &str| &x[&format!("own/{k}.{part}")];
        let maps = |whose: &str| {
            let part = &x[&format!("{whose}/{name}")];
            (0..5).map(|i| Map::of(part, i)).collect::<Vec<_>>()
        };
        let projected: Vec<Map> =
            maps("s").iter().map(|map| map.each(|p| affine(p, own("in.weight"), None))).collect();
        let mut fused = batch_norm(&projected, own("in_norm.weight"), own("in_norm.bias"));
        if let Some(deeper) = &deeper {
            for (x, y) in fused.iter_mut().zip(deeper) {
                let y = y.sized(x.side);
                for (x, y) in x.places.iter_mut().zip(&y.places) {
                    let both = [&x[..], y, &[1.0]].concat();
                    let z = affine(&both, own("attention"), None);
                    let z: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
                    *x = x.iter().zip(y).map(|(x, y)| z[0] * x + z[1] * y).collect();
                }
            }
        }
        let teacher = maps("t");
        let out: Vec<Map> =
            fused.iter().map(|map| map.sized(teacher[0].side).windows(own("out.weight"))).collect();
        let out = batch_norm(&out, own("out_norm.weight"), own("out_norm.bias"));
        let apart = |side: usize| {
            let pairs = out.iter().zip(&teacher).flat_map(|(a, b)| {
                let (a, b) = (a.sized(side).places.concat(), b.sized(side).places.concat());
                a.into_iter().zip(b)
            });
            mean(pairs.map(|(a, b)| (a - b).powi(2)))
        };
        let (mut distance, mut weight, mut total) = (apart(teacher[0].side), 1.0, 1.0);
        for side in [4, 2, 1].into_iter().filter(|side| *side < teacher[0].side) {
            weight /= 2.0;
            total += weight;
            distance += weight * apart(side);
        }
        sum += distance / total;
        deeper = Some(fused);
    }
    cross_entropy(&x["logits"]) + (EPOCH + 1) as f64 / 20.0 * sum
}
