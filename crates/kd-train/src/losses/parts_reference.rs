//! The objectives that look at parts of networks, at two versions of an image, or that learn something
//! themselves, once more: in f64 and plain loops, as their papers write them; values and gradients.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use kd_core::testing::random;
use kd_core::{Params, Stream};

use super::*;

/// Numbers of a tensor, with its sizes.
#[derive(Clone)]
struct Array {
    dims: Vec<usize>,
    values: Vec<f64>,
}

impl Array {
    fn of(tensor: &Tensor) -> Self {
        let values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        Self { dims: tensor.dims().to_vec(), values: values.to_vec1().unwrap() }
    }

    /// Row i of all values of an image.
    fn row(&self, i: usize) -> &[f64] {
        let width = self.values.len() / self.dims[0];
        &self.values[i * width..][..width]
    }

    fn rows(&self) -> Vec<Vec<f64>> {
        (0..self.dims[0]).map(|i| self.row(i).to_vec()).collect()
    }

    /// The places of image i's map, each with its channels.
    fn places(&self, i: usize) -> Vec<Vec<f64>> {
        let channels = *self.dims.last().unwrap();
        self.row(i).chunks(channels).map(<[f64]>::to_vec).collect()
    }
}

/// All that an objective looks at, by name: `logits`, `teacher`, `view`, `view_teacher`; the student's
/// parts as `s/PART`, the teacher's as `t/PART`, its own parameters as `own/NAME`, buffers as `kept/NAME`.
type Inputs = BTreeMap<String, Array>;

const LABELS: [usize; 5] = [0, 3, 2, 1, 1];
const EPOCH: u64 = 9;
const N_SAMPLES: usize = 12;
const INDICES: [u32; 5] = [4, 0, 11, 7, 3];

fn softmax(z: &[f64], temperature: f64) -> Vec<f64> {
    let exps: Vec<f64> = z.iter().map(|z| (z / temperature).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

fn kl(q: &[f64], p: &[f64]) -> f64 {
    q.iter().zip(p).map(|(q, p)| q * (q / p).ln()).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(a: &[f64]) -> Vec<f64> {
    let length = dot(a, a).sqrt();
    a.iter().map(|a| a / length).collect()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn mean_of_rows(rows: &[Vec<f64>]) -> Vec<f64> {
    (0..rows[0].len()).map(|k| mean(rows.iter().map(|row| row[k]))).collect()
}

fn cross_entropy(logits: &Array) -> f64 {
    mean((0..5).map(|i| -softmax(logits.row(i), 1.0)[LABELS[i]].ln()))
}

/// `W x + b`.
fn affine(x: &[f64], weight: &Array, bias: Option<&Array>) -> Vec<f64> {
    let products = weight.rows().into_iter().map(|row| dot(&row, x));
    products.enumerate().map(|(k, y)| y + bias.map_or(0.0, |bias| bias.values[k])).collect()
}

fn ctkd(x: &Inputs) -> f64 {
    let t = 1.0 + 20.0 / (1.0 + (-x["own/theta"].values[0]).exp());
    let soft =
        (0..5).map(|i| kl(&softmax(x["teacher"].row(i), t), &softmax(x["logits"].row(i), t)));
    0.1 * cross_entropy(&x["logits"]) + 0.9 * t * t * mean(soft)
}

fn mlkd(x: &Inputs) -> f64 {
    let products = |rows: &[Vec<f64>], other: &[Vec<f64>]| {
        let n = rows.len();
        let all = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        all.map(|(i, j)| (dot(&rows[i], &rows[j]) - dot(&other[i], &other[j])).powi(2)).sum::<f64>()
            / n as f64
    };
    let columns = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
        (0..rows[0].len()).map(|k| rows.iter().map(|row| row[k]).collect()).collect()
    };
    let view = |own: &Array, theirs: &Array| {
        let levels = [2.0, 3.0, 4.0, 5.0, 6.0].map(|t| {
            let [p, q] =
                [own, theirs].map(|z| (0..5).map(|i| softmax(z.row(i), t)).collect::<Vec<_>>());
            let images = mean((0..5).map(|i| kl(&q[i], &p[i])));
            t * t * images + products(&p, &q) + products(&columns(&p), &columns(&q))
        });
        0.1 * cross_entropy(own) + 0.9 * levels.iter().sum::<f64>()
    };
    view(&x["logits"], &x["teacher"]) + view(&x["view"], &x["view_teacher"])
}

/// With the student's own swapped logits, constants at the place where the gradient is taken, as in `x`.
fn sld(x: &Inputs, constants: &Inputs, teaches_itself: bool) -> f64 {
    let swapped = |z: &[f64], label: usize| {
        let mut z = z.to_vec();
        let largest = (0..z.len()).max_by(|a, b| z[*a].total_cmp(&z[*b])).unwrap();
        z.swap(label, largest);
        z
    };
    let view = |own: &str, theirs: &str| {
        let one = |i: usize, teacher: &Array, t: f64| {
            let q = softmax(&swapped(teacher.row(i), LABELS[i]), t);
            t * t * kl(&q, &softmax(x[own].row(i), t))
        };
        let all = |teacher: &Array| {
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
                .map(|t| mean((0..5).map(|i| one(i, teacher, t))))
                .iter()
                .sum::<f64>()
        };
        let itself = if teaches_itself { all(&constants[own]) } else { 0.0 };
        0.1 * cross_entropy(&x[own]) + 0.9 * (all(&x[theirs]) + itself)
    };
    view("logits", "teacher") + view("view", "view_teacher")
}

/// Sinkhorn's iterations among the classes that are not the label's, with all of the plan.
fn wkd(x: &Inputs) -> f64 {
    let features = &x["t/pooled"];
    let n_classes = x["logits"].dims[1];
    let class = |k: usize| {
        let images = (0..5).filter(|i| LABELS[*i] == k);
        let rows: Vec<_> = images.map(|i| features.row(i).to_vec()).collect();
        unit(&mean_of_rows(&rows))
    };
    let classes: Vec<_> = (0..n_classes).map(class).collect();
    let price =
        |a: usize, b: usize| 1.0 - (-(1.0 - dot(&classes[a], &classes[b])).max(0.0)).exp() + 1e-8;
    let one = |i: usize| {
        let (s, t, label) = (x["logits"].row(i), x["teacher"].row(i), LABELS[i]);
        let others: Vec<usize> = (0..n_classes).filter(|k| *k != label).collect();
        let among = |z: &[f64]| softmax(&others.iter().map(|k| z[*k]).collect::<Vec<_>>(), 8.0);
        let (p, q, n) = (among(s), among(t), others.len());
        let kernel = |a: usize, b: usize| (-price(others[a], others[b]) / 0.05).exp();
        let (mut u, mut v) = (vec![1.0 / n as f64; n], vec![0.0; n]);
        for _ in 0..10 {
            v = (0..n)
                .map(|b| q[b] / ((0..n).map(|a| kernel(a, b) * u[a]).sum::<f64>() + 1e-8))
                .collect();
            u = (0..n)
                .map(|a| p[a] / ((0..n).map(|b| kernel(a, b) * v[b]).sum::<f64>() + 1e-8))
                .collect();
        }
        let moved = |a: usize, b: usize| u[a] * kernel(a, b) * v[b] * price(others[a], others[b]);
        let work: f64 =
            (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).map(|(a, b)| moved(a, b)).sum();
        -softmax(t, 1.0)[label] * softmax(s, 1.0)[label].ln() + 600.0 * work
    };
    cross_entropy(&x["logits"]) + mean((0..5).map(one))
}

fn hint(x: &Inputs) -> f64 {
    let (s, t) = (&x["s/stage:2"], &x["t/stage:2"]);
    let squares = (0..5).flat_map(|i| {
        let projected = s.places(i).into_iter();
        let projected = projected.flat_map(|p| affine(&p, &x["own/weight"], Some(&x["own/bias"])));
        projected.zip(t.row(i).to_vec()).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>()
    });
    cross_entropy(&x["logits"]) + 100.0 * mean(squares)
}

fn attention(x: &Inputs) -> f64 {
    let map = |part: &Array, i: usize| {
        let places = part.places(i).into_iter();
        unit(&places.map(|p| mean(p.iter().map(|v| v * v))).collect::<Vec<_>>())
    };
    let part = |name: &str| {
        let (s, t) = (&x[&format!("s/{name}")], &x[&format!("t/{name}")]);
        let squares = (0..5).flat_map(|i| {
            let pairs = map(s, i).into_iter().zip(map(t, i));
            pairs.map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>()
        });
        mean(squares)
    };
    cross_entropy(&x["logits"])
        + 1000.0 * ["stage:1", "stage:2", "stage:3"].map(part).iter().sum::<f64>()
}

fn similarity(x: &Inputs) -> f64 {
    let products = |part: &Array| -> Vec<f64> {
        let row =
            |i: usize| unit(&(0..5).map(|j| dot(part.row(i), part.row(j))).collect::<Vec<_>>());
        (0..5).flat_map(row).collect()
    };
    let (s, t) = (products(&x["s/stage:last"]), products(&x["t/stage:last"]));
    let sum: f64 = s.iter().zip(&t).map(|(a, b)| (a - b).powi(2)).sum();
    cross_entropy(&x["logits"]) + 3000.0 * sum / 25.0
}

fn relational(x: &Inputs) -> f64 {
    let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
    let huber = |d: f64| if d.abs() < 1.0 { d * d / 2.0 } else { d.abs() - 0.5 };
    let distances = |part: &Array| -> Vec<f64> {
        let pair = |i: usize, j: usize| {
            let d = minus(part.row(i), part.row(j));
            dot(&d, &d).sqrt()
        };
        let all: Vec<f64> =
            (0..5).flat_map(|i| (0..5).map(move |j| (i, j))).map(|(i, j)| pair(i, j)).collect();
        let scale = mean(all.iter().copied().filter(|d| *d > 0.0));
        all.iter().map(|d| d / scale).collect()
    };
    let angles = |part: &Array| -> Vec<f64> {
        let towards = |i: usize, j: usize| {
            let d = minus(part.row(j), part.row(i));
            if i == j { d } else { unit(&d) }
        };
        let mut all = Vec::new();
        for i in 0..5 {
            for j in 0..5 {
                all.extend((0..5).map(|k| dot(&towards(i, j), &towards(i, k))));
            }
        }
        all
    };
    let (s, t) = (&x["s/pooled"], &x["t/pooled"]);
    let apart = |a: Vec<f64>, b: Vec<f64>| mean(a.iter().zip(&b).map(|(a, b)| huber(a - b)));
    cross_entropy(&x["logits"])
        + 25.0 * apart(distances(s), distances(t))
        + 50.0 * apart(angles(s), angles(t))
}

fn probabilistic(x: &Inputs) -> f64 {
    let near = |part: &Array| -> Vec<Vec<f64>> {
        let row = |i: usize| {
            let row = |j: usize| (1.0 + dot(&unit(part.row(i)), &unit(part.row(j)))) / 2.0;
            let row: Vec<f64> = (0..5).map(row).collect();
            row.iter().map(|v| v / row.iter().sum::<f64>()).collect()
        };
        (0..5).map(row).collect()
    };
    let (p, q) = (near(&x["s/pooled"]).concat(), near(&x["t/pooled"]).concat());
    let terms = q.iter().zip(&p).map(|(q, p)| q * ((q + 1e-7) / (p + 1e-7)).ln());
    cross_entropy(&x["logits"]) + 30_000.0 * mean(terms)
}

fn variational(x: &Inputs) -> f64 {
    let part = |k: usize, name: &str| {
        let own = |name: &str| &x[&format!("own/{k}.{name}")];
        let relu = |v: Vec<f64>| v.into_iter().map(|v| v.max(0.0)).collect::<Vec<_>>();
        let (s, t) = (&x[&format!("s/{name}")], &x[&format!("t/{name}")]);
        let mut terms = Vec::new();
        for i in 0..5 {
            for (own_place, place) in s.places(i).iter().zip(t.places(i)) {
                let hidden = relu(affine(own_place, own("weight1"), None));
                let hidden = relu(affine(&hidden, own("weight2"), None));
                let mean = affine(&hidden, own("weight3"), None);
                for (c, (m, t)) in mean.iter().zip(&place).enumerate() {
                    let variance = own("rho").values[c].exp().ln_1p() + 1e-5;
                    terms.push(0.5 * ((m - t).powi(2) / variance + variance.ln()));
                }
            }
        }
        mean(terms)
    };
    let parts = ["stage:1", "stage:2", "stage:3"].iter().enumerate();
    cross_entropy(&x["logits"]) + parts.map(|(k, name)| part(k, name)).sum::<f64>()
}

fn srd(x: &Inputs) -> f64 {
    let white = |rows: Vec<Vec<f64>>| {
        let means = mean_of_rows(&rows);
        let variance = |k: usize| mean(rows.iter().map(|row| (row[k] - means[k]).powi(2)));
        let scale: Vec<f64> = (0..means.len()).map(|k| (variance(k) + 1e-4).sqrt()).collect();
        let row = |row: &Vec<f64>| {
            (0..means.len()).map(|k| (row[k] - means[k]) / scale[k]).collect::<Vec<_>>()
        };
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let projected = x["s/pooled"].rows().into_iter();
    let projected = projected.map(|s| affine(&s, &x["own/weight"], Some(&x["own/bias"]))).collect();
    let pairs = white(projected).concat().into_iter().zip(white(x["t/pooled"].rows()).concat());
    cross_entropy(&x["logits"]) + 2.0 * pairs.map(|(a, b)| (a - b).abs().powi(4)).sum::<f64>().ln()
}

fn contrastive(x: &Inputs) -> f64 {
    let mut rng = Stream::new(0).at("negatives").rng();
    let negatives: Vec<usize> =
        (0..N_SAMPLES).map(|_| rng.below(N_SAMPLES as u32) as usize).collect();
    let side = |side: &str, part: &str, memory: &str| {
        let embed = |i: usize| {
            let (weight, bias) =
                (&x[&format!("own/{side}.weight")], &x[&format!("own/{side}.bias")]);
            unit(&affine(x[part].row(i), weight, Some(bias)))
        };
        let memory = &x[&format!("kept/{memory}")];
        let like = |i: usize, m: usize| (dot(&embed(i), memory.row(m)) / 0.07).exp();
        let norm = f64::from(x[&format!("norm/{side}")].values[0] as f32);
        let noise = negatives.len() as f64 / N_SAMPLES as f64;
        let one = |i: usize| {
            let own = like(i, INDICES[i] as usize) / norm;
            let others = negatives.iter().map(|m| (noise / (like(i, *m) / norm + noise)).ln());
            -(own / (own + noise)).ln() - others.sum::<f64>()
        };
        mean((0..5).map(one))
    };
    let both = side("student", "s/pooled", "teacher") + side("teacher", "t/pooled", "student");
    cross_entropy(&x["logits"]) + 0.8 * both
}

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

fn review(x: &Inputs) -> f64 {
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
        let mut fused = batch_norm(&projected, own("in.gamma"), own("in.beta"));
        if let Some(deeper) = &deeper {
            for (x, y) in fused.iter_mut().zip(deeper) {
                let y = y.sized(x.side);
                for (x, y) in x.places.iter_mut().zip(&y.places) {
                    let both = [x.clone(), y.clone()].concat();
                    let z = affine(&both, own("attention.weight"), Some(own("attention.bias")));
                    let z: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
                    *x = x.iter().zip(y).map(|(x, y)| z[0] * x + z[1] * y).collect();
                }
            }
        }
        let teacher = maps("t");
        let out: Vec<Map> =
            fused.iter().map(|map| map.sized(teacher[0].side).windows(own("out.weight"))).collect();
        let out = batch_norm(&out, own("out.gamma"), own("out.beta"));
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

type Reference = Box<dyn Fn(&Inputs, &Inputs) -> f64>;

fn all() -> Vec<(LossSpec, Reference)> {
    fn of(f: fn(&Inputs) -> f64) -> Reference {
        Box::new(move |x, _| f(x))
    }
    let itself = Sld { own_after: 3, ..Sld::default() };
    let few = Contrastive { n_dims: 6, ..Contrastive::default() };
    vec![
        (Ctkd::default().into(), of(ctkd)),
        (Wkd::default().into(), of(wkd)),
        (Mlkd::default().into(), of(mlkd)),
        (Sld::default().into(), Box::new(|x, at| sld(x, at, false))),
        (itself.into(), Box::new(|x, at| sld(x, at, true))),
        (Hint::default().into(), of(hint)),
        (Attention::default().into(), of(attention)),
        (Similarity::default().into(), of(similarity)),
        (Relational::default().into(), of(relational)),
        (Probabilistic::default().into(), of(probabilistic)),
        (Variational::default().into(), of(variational)),
        (few.into(), of(contrastive)),
        (Review::default().into(), of(review)),
        (Srd::default().into(), of(srd)),
    ]
}

/// Sizes of the parts: the teacher's are wider, its first map is as large as the student's.
fn parts(n: usize, whose: usize) -> BTreeMap<String, Tensor> {
    let width = [3, 4][whose];
    let shapes = [
        ("stage:1", vec![n, 8, 8, width]),
        ("stage:2", vec![n, 4, 4, width + 1]),
        ("stage:3", vec![n, 2, 2, width + 2]),
        ("stage:last", vec![n, 2, 2, width + 2]),
        ("pooled", vec![n, width + 2]),
    ];
    let part = |(name, shape): (&str, Vec<usize>)| {
        let stream = Stream::new(11).at(name).number(whose as u64);
        (name.to_owned(), random(stream, &shape))
    };
    shapes.into_iter().map(part).collect()
}

/// What student and teacher say of five images.
struct Example {
    logits: Var,
    view: Var,
    teacher: [Tensor; 2],
    taps: BTreeMap<String, Var>,
    teacher_taps: BTreeMap<String, Tensor>,
}

impl Example {
    fn new() -> Self {
        let logits = |name: &str| (random(Stream::new(5).at(name), &[5, 4]) * 3.0).unwrap();
        let var = |tensor: &Tensor| Var::from_tensor(tensor).unwrap();
        Self {
            logits: var(&logits("student")),
            view: var(&logits("view")),
            teacher: [logits("teacher"), logits("teacher's view")],
            taps: parts(5, 0).iter().map(|(name, t)| (name.clone(), var(t))).collect(),
            teacher_taps: parts(5, 1),
        }
    }

    /// Value, and gradients by name, with the inputs as they were before.
    fn computed(&self, spec: &LossSpec) -> (f64, BTreeMap<String, Array>, Inputs) {
        let labels = LABELS.map(|label| label as u32);
        let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
        let taps = self.taps.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        let taps = taps.collect();
        let views = [View {
            logits: self.view.as_tensor().clone(),
            teacher_logits: Some(self.teacher[1].clone()),
        }];
        let input = LossInput {
            teacher_logits: Some(&self.teacher[0]),
            taps: &taps,
            teacher_taps: &self.teacher_taps,
            views: &views,
            indices: &INDICES,
            n_samples: N_SAMPLES,
            epoch: EPOCH,
            ..LossInput::new(&self.logits, &labels)
        };
        let own = spec.own_params(&input).unwrap();
        let mut inputs = self.inputs(&own);
        let loss = spec.loss(&LossInput { own: &own, ..input }).unwrap();
        for side in ["student", "teacher"] {
            // Whose norm it is: that of the memory it is compared with.
            let other = if side == "student" { "teacher" } else { "student" };
            if let Some(norm) = own.buffer(&format!("{other}.norm")) {
                inputs.insert(format!("norm/{side}"), Array::of(norm));
            }
        }
        let grads = loss.backward().unwrap();
        let mut by_name = BTreeMap::new();
        let mut add = |name: String, var: &Var| {
            if let Some(grad) = grads.get(var) {
                by_name.insert(name, Array::of(grad));
            }
        };
        add("logits".into(), &self.logits);
        add("view".into(), &self.view);
        self.taps.iter().for_each(|(name, var)| add(format!("s/{name}"), var));
        own.iter().for_each(|(name, param)| add(format!("own/{name}"), param.var()));
        assert!(self.teacher.iter().all(|t| grads.get(t).is_none()), "{}", spec.name());
        (f64::from(loss.to_scalar::<f32>().unwrap()), by_name, inputs)
    }

    fn inputs(&self, own: &Params) -> Inputs {
        let mut inputs = Inputs::new();
        let mut add = |name: String, tensor: &Tensor| drop(inputs.insert(name, Array::of(tensor)));
        add("logits".into(), &self.logits);
        add("view".into(), &self.view);
        add("teacher".into(), &self.teacher[0]);
        add("view_teacher".into(), &self.teacher[1]);
        self.taps.iter().for_each(|(name, var)| add(format!("s/{name}"), var));
        self.teacher_taps.iter().for_each(|(name, t)| add(format!("t/{name}"), t));
        own.iter().for_each(|(name, param)| add(format!("own/{name}"), param.var()));
        own.buffers().for_each(|(name, var)| add(format!("kept/{name}"), var));
        inputs
    }
}

/// By central differences.
fn gradient(of: &Reference, inputs: &Inputs, name: &str) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut moved = inputs.clone();
        moved.get_mut(name).unwrap().values[i] += by;
        of(&moved, inputs)
    };
    let n = inputs[name].values.len();
    (0..n).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect()
}

#[test]
fn values_and_gradients_are_those_of_the_papers() {
    let example = Example::new();
    for (spec, reference) in all() {
        let (value, grads, inputs) = example.computed(&spec);
        let want = reference(&inputs, &inputs);
        let error = (value - want).abs() / want.abs().max(1.0);
        assert!(error < 1e-6, "{}: {value}, want {want}", spec.name());
        for (name, grad) in &grads {
            let mut want = gradient(&reference, &inputs, name);
            if name == "own/theta" {
                // Learned against the student, in the tenth epoch of the ramp of ten.
                want.iter_mut().for_each(|g| *g = -*g);
            }
            let scale = want.iter().fold(1.0f64, |scale, g| scale.max(g.abs()));
            for (got, want) in grad.values.iter().zip(&want) {
                let error = (got - want).abs();
                assert!(error < 1e-6 * scale, "{} {name}: {got}, want {want}", spec.name());
            }
        }
        let own_taps = spec.taps().into_iter().map(|tap| format!("s/{tap}"));
        for name in own_taps.chain(["logits".to_owned()]) {
            assert!(grads.contains_key(&name), "{} does not teach {name}", spec.name());
        }
    }
}

/// One image, two classes, features of zeros, equal networks: a number or a refusal.
#[test]
fn nothing_degenerate_gives_a_nan() {
    let zeros = |parts: BTreeMap<String, Tensor>| -> BTreeMap<String, Tensor> {
        parts.iter().map(|(name, part)| (name.clone(), part.zeros_like().unwrap())).collect()
    };
    let cases = [
        (1, parts(1, 0), parts(1, 1)),
        (3, zeros(parts(3, 0)), parts(3, 1)),
        (3, zeros(parts(3, 0)), zeros(parts(3, 1))),
        (3, parts(3, 0), parts(3, 0)),
    ];
    let looks = |spec: &LossSpec| !spec.teacher_taps().is_empty();
    for spec in LossSpec::all().into_iter().filter(looks) {
        for (n, taps, teacher_taps) in &cases {
            if spec.name() == "features" && taps["pooled"].dims() != teacher_taps["pooled"].dims() {
                continue;
            }
            let vars: BTreeMap<_, _> =
                taps.iter().map(|(name, t)| (name.clone(), Var::from_tensor(t).unwrap())).collect();
            let taps = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
            let taps = taps.collect();
            let logits = Var::from_tensor(&random(Stream::new(1), &[*n, 2])).unwrap();
            let labels = Tensor::zeros(*n, DType::U32, &Device::Cpu).unwrap();
            let (teacher, indices) = (random(Stream::new(2), &[*n, 2]), [2u32, 0, 1]);
            let input = LossInput {
                teacher_logits: Some(&teacher),
                taps: &taps,
                teacher_taps,
                indices: &indices[..*n],
                n_samples: 3,
                ..LossInput::new(&logits, &labels)
            };
            let own = spec.own_params(&input).unwrap();
            let loss = spec.loss(&LossInput { own: &own, ..input }).unwrap();
            assert!(loss.to_scalar::<f32>().unwrap().is_finite(), "{} {n}", spec.name());
            let grads = loss.backward().unwrap();
            let params = own.iter().map(|(_, param)| param.var());
            for var in vars.values().chain(params).chain([&logits]) {
                let Some(grad) = grads.get(var) else { continue };
                let grad: Vec<f32> = grad.flatten_all().unwrap().to_vec1().unwrap();
                assert!(grad.iter().all(|g| g.is_finite()), "{} {n}: {grad:?}", spec.name());
            }
        }
    }
}
