//! In-place optimizer steps, one pass over parameter, gradient and state.
//!
//! Key decision: numbers that are too small to move a parameter become 0. The momentum of a unit
//! that has died shrinks by a tenth a step, down to subnormal numbers, where rounding holds it; a
//! processor takes a hundred times as long for these, and an MLP's step 1.5 times as long after
//! twenty epochs.

mod adam;
#[cfg(feature = "cuda")]
mod cuda;
mod moments;
mod sgd;

pub use adam::Adam;
pub use moments::Moments;
pub use sgd::Sgd;

use crate::Result;

/// A rule by which a parameter follows its gradient.
pub trait Rule {
    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`crate::Error::Config`], naming the setting.
    fn check(&self) -> Result<()>;

    /// What the state of a parameter consists of, such as `velocity`; each part has as many values
    /// as the parameter.
    fn parts(&self) -> &'static [&'static str];

    /// Changes `param` by the step of this number, counted from 1, at this learning rate. `state`
    /// has the parts, zeros before the first step.
    fn step(
        &self,
        rate_and_number: (f64, u64),
        param: &mut [f32],
        grad: &[f32],
        state: &mut [&mut [f32]],
    );

    /// What the kernel of the rule's name on a GPU is told of a step.
    #[cfg(feature = "cuda")]
    fn rates(&self, rate_and_number: (f64, u64)) -> Vec<f32>;
}

crate::registry! {
    /// An optimizer, chosen by `kind` in a suite file.
    pub enum OptimizerSpec: dyn Rule {
        "adam" => Adam(Adam),
        "sgd" => Sgd(Sgd),
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Adam::default().into()
    }
}

/// Values that one task steps over.
const BLOCK: usize = 1 << 15;

/// Moments below this move no parameter: a step is at most `learning_rate * m / eps`.
const LEAST_MOMENT: f32 = 1e-30;

#[inline(always)]
fn flushed(x: f32, least: f32) -> f32 {
    if x.abs() < least { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::golden;
    use crate::testing::numbers;

    fn floats(value: &Value) -> Vec<f32> {
        numbers(value).iter().map(|&x| x as f32).collect()
    }

    /// A parameter and its state.
    struct Walk {
        param: Vec<f32>,
        state: Vec<Vec<f32>>,
    }

    impl Walk {
        fn new(rule: &impl Rule, param: Vec<f32>) -> Self {
            let state = rule.parts().iter().map(|_| vec![0.0; param.len()]).collect();
            Self { param, state }
        }

        fn step(&mut self, rule: &impl Rule, rate: f64, number: u64, grad: &[f32]) {
            let mut state: Vec<&mut [f32]> = self.state.iter_mut().map(|s| &mut s[..]).collect();
            rule.step((rate, number), &mut self.param, grad, &mut state);
        }
    }

    fn check(golden: &Value, what: &str, got: &[f32], want: &Value) {
        let atol = golden["tolerance"]["atol"].as_f64().unwrap();
        let rtol = golden["tolerance"]["rtol"].as_f64().unwrap();
        let want = numbers(want);
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() <= atol + rtol * w.abs(), "{what}: {g}, want {w}");
        }
    }

    /// Follows PyTorch's parameters after each step of a case.
    fn follow(golden: &Value, case: &Value, rule: &impl Rule) -> Walk {
        let mut walk = Walk::new(rule, floats(&golden["initial"]));
        for (i, rate) in numbers(&case["learning_rates"]).into_iter().enumerate() {
            walk.step(rule, rate, i as u64 + 1, &floats(&golden["gradients"][i]));
            let what = format!("{} after step {}", case["name"], i + 1);
            check(golden, &what, &walk.param, &case["after"][i]);
        }
        walk
    }

    #[test]
    fn the_state_of_no_parameters_is_taken_up() {
        let spec = serde_json::from_str(r#"{"kind": "adam"}"#).unwrap();
        let mut moments = Moments::new(&spec, &crate::Params::new());
        let tensors = moments.tensors().unwrap();
        assert!(tensors.is_empty());
        moments.load(&tensors).unwrap();
    }

    #[test]
    fn adam_follows_the_golden_trajectory() {
        let golden = golden("optimizers.json");
        let cases = golden["adam"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let betas = numbers(&case["betas"]);
            let adam = Adam {
                beta1: betas[0],
                beta2: betas[1],
                eps: case["eps"].as_f64().unwrap(),
                weight_decay: case["weight_decay"].as_f64().unwrap(),
            };
            let walk = follow(&golden, case, &adam);
            check(&golden, "first moment", &walk.state[0], &case["exp_avg"]);
            check(&golden, "second moment", &walk.state[1], &case["exp_avg_sq"]);
        }
    }

    #[test]
    fn sgd_follows_the_golden_trajectory() {
        let golden = golden("optimizers.json");
        let cases = golden["sgd"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let sgd = Sgd {
                momentum: case["momentum"].as_f64().unwrap(),
                nesterov: case["nesterov"].as_bool().unwrap(),
                weight_decay: case["weight_decay"].as_f64().unwrap(),
            };
            follow(&golden, case, &sgd);
        }
    }

    #[test]
    fn many_values_step_as_each_would_alone() {
        let n = 200_003;
        let grad = crate::testing::random(crate::Stream::new(1), &[n]).to_vec1::<f32>().unwrap();
        let adam = Adam::default();
        let mut walk = Walk::new(&adam, vec![0.0; n]);
        walk.step(&adam, 0.1, 1, &grad);
        // The first step of Adam is the learning rate against the gradient's sign.
        for (p, g) in walk.param.iter().zip(&grad) {
            assert!((p + 0.1 * g.signum()).abs() < 1e-4 || g.abs() < 1e-4);
        }
    }

    #[test]
    fn the_momentum_of_what_has_died_ends_at_zero() {
        let (adam, sgd) = (Adam::default(), Sgd { momentum: 0.9, ..Sgd::default() });
        let (mut by_adam, mut by_sgd) = (Walk::new(&adam, vec![1.0]), Walk::new(&sgd, vec![1.0]));
        // In subnormal numbers, 0.9 of the fourth smallest rounds back to it.
        for number in 1..=1200 {
            let grad = if number == 1 { 1.0f32 } else { 0.0 };
            by_adam.step(&adam, 1e-3, number, &[grad]);
            by_sgd.step(&sgd, 1e-3, number, &[grad]);
        }
        assert_eq!((by_adam.state[0][0].to_bits(), by_sgd.state[0][0].to_bits()), (0, 0));
        assert!(by_adam.state[1][0].is_normal());
    }

    #[test]
    fn settings_outside_their_domain_are_refused() {
        assert!(OptimizerSpec::all().iter().all(|spec| spec.as_dyn().check().is_ok()));
        assert!(Adam { beta1: 1.0, ..Adam::default() }.check().is_err());
        assert!(Adam { beta2: -0.1, ..Adam::default() }.check().is_err());
        assert!(Adam { eps: f64::NAN, ..Adam::default() }.check().is_err());
        assert!(Sgd { momentum: 1.0, ..Sgd::default() }.check().is_err());
        assert!(Sgd { weight_decay: f64::INFINITY, ..Sgd::default() }.check().is_err());
    }
}
