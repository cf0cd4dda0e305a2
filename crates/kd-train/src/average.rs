//! Several teachers as one.
//!
//! Key decision: what objectives take is logits, so that a mean of probabilities enters as the logits
//! that stand for it: at its temperature they give that mean exactly, whatever the objective.

use candle_core::Tensor;
use kd_core::{Classifier, Error, Mode, Params, Result, ops};
use serde::{Deserialize, Serialize};

/// How the logits of several teachers become those of one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Average {
    /// `z_k = mean_m z_mk`: the geometric mean of their probabilities, at every temperature.
    Logits,
    /// `z_k = T log(mean_m softmax(z_m / T)_k)`: the arithmetic mean of their probabilities at T,
    /// the soft targets of an ensemble of Hinton, Vinyals and Dean 2015, section 3. Exact in an
    /// objective at this T, since `softmax(T log q / T) = q`; at another it is a stand-in.
    Probabilities {
        /// T > 0.
        temperature: f64,
    },
}

impl Average {
    /// Refuses a temperature outside its domain.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(self) -> Result<()> {
        match self {
            Self::Logits => Ok(()),
            Self::Probabilities { temperature } => ops::check_temperature(temperature),
        }
    }

    /// One row for those of the teachers, each of K logits.
    fn row(self, rows: &[&[f32]], out: &mut [f32]) {
        let n = rows.len() as f64;
        let Self::Probabilities { temperature } = self else {
            for (k, out) in out.iter_mut().enumerate() {
                *out = (rows.iter().map(|row| f64::from(row[k])).sum::<f64>() / n) as f32;
            }
            return;
        };
        let logs: Vec<Vec<f64>> = rows.iter().map(|row| log_softmax(row, temperature)).collect();
        for (k, out) in out.iter_mut().enumerate() {
            let max = logs.iter().fold(f64::NEG_INFINITY, |max, row| max.max(row[k]));
            let sum: f64 = logs.iter().map(|row| (row[k] - max).exp()).sum();
            *out = (temperature * (max + (sum / n).ln())) as f32;
        }
    }

    /// The same for the rows of K logits that each teacher gives, one after another.
    pub(crate) fn rows(self, teachers: &[Vec<f32>], n_classes: usize) -> Vec<f32> {
        let mut out = vec![0.0; teachers.first().map_or(0, Vec::len)];
        for (i, out) in out.chunks_exact_mut(n_classes).enumerate() {
            let row = i * n_classes..(i + 1) * n_classes;
            let rows: Vec<&[f32]> = teachers.iter().map(|all| &all[row.clone()]).collect();
            self.row(&rows, out);
        }
        out
    }
}

/// `log softmax(z / T)`.
fn log_softmax(row: &[f32], temperature: f64) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|z| f64::from(*z) / temperature).collect();
    let max = row.iter().fold(f64::NEG_INFINITY, |max, z| max.max(*z));
    let norm = max + row.iter().map(|z| (z - max).exp()).sum::<f64>().ln();
    row.into_iter().map(|z| z - norm).collect()
}

/// Networks that judge together: a [`Classifier`] of their average. It is not for training.
pub struct Ensemble {
    members: Vec<Box<dyn Classifier>>,
    average: Average,
    params: Params,
}

impl Ensemble {
    /// Of networks for the same classes.
    ///
    /// # Errors
    /// [`Error::Config`] for none, other numbers of classes, or a temperature outside its domain.
    pub fn new(members: Vec<Box<dyn Classifier>>, average: Average) -> Result<Self> {
        average.check()?;
        let n_classes = members.first().map(|member| member.n_classes());
        if members.is_empty() || members.iter().any(|m| Some(m.n_classes()) != n_classes) {
            return Err(Error::config("teachers", "need the same number of classes"));
        }
        let mut params = Params::default();
        for (i, member) in members.iter().enumerate() {
            for (name, tensor) in member.params().tensors() {
                let own = format!("{i}/{name}");
                match member.params().get(&name) {
                    Some(param) => drop(params.insert_var(&own, param.var().clone())?),
                    None => drop(params.insert_buffer(&own, &tensor)?),
                }
            }
        }
        Ok(Self { members, average, params })
    }

    /// The networks.
    pub fn members(&self) -> &[Box<dyn Classifier>] {
        &self.members
    }
}

impl Classifier for Ensemble {
    fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
        let logits = self.members.iter().map(|member| {
            let logits = member.forward(pixels, mode)?;
            Ok(logits.detach().flatten_all()?.to_vec1::<f32>()?)
        });
        let rows = self.average.rows(&logits.collect::<Result<Vec<_>>>()?, self.n_classes());
        Ok(Tensor::from_vec(rows, ((), self.n_classes()), pixels.device())?)
    }

    fn n_classes(&self) -> usize {
        self.members.first().map_or(0, |member| member.n_classes())
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use kd_core::ops::{Reduction, SoftTargets, distillation};
    use kd_core::{BatchSource, Stream};

    use super::*;
    use crate::testing::{Dots, N_CLASSES, Network, bits};

    fn average(average: Average, rows: &[&[f32]]) -> Vec<f32> {
        let mut out = vec![0.0; rows[0].len()];
        average.row(rows, &mut out);
        out
    }

    fn close(got: &[f32], want: &[f64]) {
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-6, "{got}, want {want}");
        }
    }

    #[test]
    fn means_by_hand() {
        let (ln3, even) = (3f32.ln(), [0.0, 0.0]);
        close(&average(Average::Logits, &[&[4.0, -2.0], &[1.0, 0.0]]), &[2.5, -1.0]);
        // (3/4, 1/4) and (1/2, 1/2) have the mean (5/8, 3/8).
        let (p, q) = (0.625f64, 0.375f64);
        let at_1 = Average::Probabilities { temperature: 1.0 };
        close(&average(at_1, &[&[ln3, 0.0], &even]), &[p.ln(), q.ln()]);
        // At T = 2 the same odds need twice the logits, and so does the mean.
        let at_2 = Average::Probabilities { temperature: 2.0 };
        close(&average(at_2, &[&[2.0 * ln3 + 7.0, 7.0], &even]), &[2.0 * p.ln(), 2.0 * q.ln()]);
    }

    #[test]
    fn one_teacher_is_itself_and_large_logits_stay_finite() {
        let row = [3.25f32, -1.5, 1000.0];
        assert_eq!(bits(&average(Average::Logits, &[&row])), bits(&row));
        let mean = Average::Probabilities { temperature: 1.0 };
        let both = average(mean, &[&row, &[1000.0, 0.0, -1000.0]]);
        close(&both[..1], &[0.5f64.ln()]);
        assert!(both.iter().all(|z| z.is_finite()), "{both:?}");
    }

    #[test]
    fn the_objective_sees_the_mean_of_the_probabilities() {
        let (temperature, device) = (3.0, Device::Cpu);
        let (a, b) = ([2.0f32, -1.0, 0.5], [-3.0f32, 1.0, 4.0]);
        let student = [0.3f64, -0.2, 0.9];
        let softmax = |row: &[f64]| -> Vec<f64> {
            let exps: Vec<f64> = row.iter().map(|z| (z / temperature).exp()).collect();
            exps.iter().map(|e| e / exps.iter().sum::<f64>()).collect()
        };
        let [pa, pb] = [a, b].map(|row| softmax(&row.map(f64::from)));
        let p = softmax(&student);
        let want: f64 = (0..3).map(|k| -(pa[k] + pb[k]) / 2.0 * p[k].ln()).sum::<f64>() * 9.0;
        let mean = average(Average::Probabilities { temperature }, &[&a, &b]);
        let teacher_logits = &Tensor::new(&mean[..], &device).unwrap().unsqueeze(0).unwrap();
        let reduction = Reduction::BatchMean;
        let soft = SoftTargets { teacher_logits, temperature, alpha: 1.0, reduction };
        let logits = Tensor::new(&[student.map(|z| z as f32)], &device).unwrap();
        let loss = distillation(&logits, None, &soft).unwrap().to_scalar::<f32>().unwrap();
        assert!((f64::from(loss) - want).abs() < 1e-5, "{loss}, want {want}");
    }

    #[test]
    fn an_ensemble_averages_its_members() {
        let members = || -> Vec<Box<dyn Classifier>> {
            vec![Box::new(Network::new(1)), Box::new(Network::new(2))]
        };
        let both = Ensemble::new(members(), Average::Logits).unwrap();
        let images = Dots::new(5).batch(0, &[0, 1, 2, 3, 4]).unwrap().images;
        let logits = |net: &dyn Classifier| {
            net.forward(&images, Mode::Train(Stream::new(1))).unwrap().to_vec2::<f32>().unwrap()
        };
        let (one, two, mean) = (logits(&*members()[0]), logits(&*members()[1]), logits(&both));
        for (i, row) in mean.iter().enumerate() {
            for (k, z) in row.iter().enumerate() {
                assert!((z - (one[i][k] + two[i][k]) / 2.0).abs() < 1e-6);
            }
        }
        assert_eq!((both.n_classes(), both.params().tensors().len()), (N_CLASSES, 4));
        assert!(Ensemble::new(Vec::new(), Average::Logits).is_err());
        let cold = Average::Probabilities { temperature: 0.0 };
        assert!(Ensemble::new(members(), cold).is_err());
    }
}
