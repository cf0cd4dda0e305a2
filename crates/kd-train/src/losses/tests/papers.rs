//! Objectives as their papers write them, in plain loops.

use kd_core::Stream;

use super::arrays::*;

pub(super) fn ctkd(x: &Inputs) -> f64 {
    let t = 1.0 + 20.0 / (1.0 + (-x["own/theta"].values[0]).exp());
    let soft =
        (0..5).map(|i| kl(&softmax(x["teacher"].row(i), t), &softmax(x["logits"].row(i), t)));
    0.1 * cross_entropy(&x["logits"]) + 0.9 * t * t * mean(soft)
}

pub(super) fn mlkd(x: &Inputs) -> f64 {
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
pub(super) fn sld(x: &Inputs, constants: &Inputs, teaches_itself: bool) -> f64 {
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
pub(super) fn wkd(x: &Inputs) -> f64 {
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

pub(super) fn hint(x: &Inputs) -> f64 {
    let (s, t) = (&x["s/stage:2"], &x["t/stage:2"]);
    let squares = (0..5).flat_map(|i| {
        let projected = s.places(i).into_iter();
        let projected = projected.flat_map(|p| affine(&p, &x["own/weight"], Some(&x["own/bias"])));
        projected.zip(t.row(i).to_vec()).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>()
    });
    cross_entropy(&x["logits"]) + 100.0 * mean(squares)
}

pub(super) fn attention(x: &Inputs) -> f64 {
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

pub(super) fn similarity(x: &Inputs) -> f64 {
    let products = |part: &Array| -> Vec<f64> {
        let row =
            |i: usize| unit(&(0..5).map(|j| dot(part.row(i), part.row(j))).collect::<Vec<_>>());
        (0..5).flat_map(row).collect()
    };
    let (s, t) = (products(&x["s/stage:last"]), products(&x["t/stage:last"]));
    let sum: f64 = s.iter().zip(&t).map(|(a, b)| (a - b).powi(2)).sum();
    cross_entropy(&x["logits"]) + 3000.0 * sum / 25.0
}

pub(super) fn relational(x: &Inputs) -> f64 {
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

pub(super) fn probabilistic(x: &Inputs) -> f64 {
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

pub(super) fn variational(x: &Inputs) -> f64 {
    let part = |k: usize, name: &str| {
        let own = |name: &str| &x[&format!("own/{k}.{name}")];
        let relu = |v: Vec<f64>| v.into_iter().map(|v| v.max(0.0)).collect::<Vec<_>>();
        let (s, t) = (&x[&format!("s/{name}")], &x[&format!("t/{name}")]);
        let mut terms = Vec::new();
        for i in 0..5 {
            for (own_place, place) in s.places(i).iter().zip(t.places(i)) {
                let hidden = relu(affine(own_place, own("linear1.weight"), None));
                let hidden = relu(affine(&hidden, own("linear2.weight"), None));
                let mean = affine(&hidden, own("linear3.weight"), None);
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

pub(super) fn srd(x: &Inputs) -> f64 {
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

pub(super) fn contrastive(x: &Inputs) -> f64 {
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
