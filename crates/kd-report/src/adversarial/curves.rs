//! Accuracy against the attack's radius.

use kd_core::Norm;
use kd_core::Result;

use crate::chart::{Hue, Lines, Series, XAxis, hue};
use crate::document::{Block, Figure, Legend, Plot, Section};
use crate::ordered::grouped;

use super::summary::{norm, radius};
use super::{Adversarial, AttackSummary, AttackedModel, Share};

/// As many lines as there are colors.
const N_LINES: usize = 7;

/// One panel for each attack that was run at several radii, one line for each model.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn section(all: &Adversarial) -> Result<Option<Section>> {
    let drawn: Vec<_> = all.models.iter().filter(|model| !curves(model).is_empty()).collect();
    let figures = drawn.chunks(N_LINES).map(|models| Ok(Block::Figure(figure(models)?)));
    Ok(Section::of("Accuracy against radius", figures.collect::<Result<_>>()?))
}

/// The curve of one attack on one model.
struct Curve<'a> {
    attack: &'a str,
    norm: Norm,
    /// Radius and robust accuracy, percent: mean and standard deviation over seeds.
    points: Vec<(f64, f64, f64)>,
}

/// Every attack with more than one radius, the clean accuracy at radius 0.
fn curves(model: &AttackedModel) -> Vec<Curve<'_>> {
    let bounded = model.attacks.iter().filter(|attack| attack.eps.is_some_and(|eps| eps >= 0.0));
    let groups = grouped(bounded, |attack| (attack.attack.as_str(), attack.norm));
    groups.iter().filter(|group| group.len() > 1).map(|group| curve(group)).collect()
}

fn curve<'a>(attacks: &[&'a AttackSummary]) -> Curve<'a> {
    let point = |eps: f64, share: &Share| {
        let stat = &share.over_seeds;
        (eps, 100.0 * stat.mean, 100.0 * stat.std.unwrap_or(0.0))
    };
    let radii = attacks.iter().map(|a| point(a.eps.unwrap_or(0.0), &a.robust_accuracy));
    let clean = attacks.iter().take(1).map(|attack| point(0.0, &attack.clean_accuracy));
    let mut points: Vec<_> = radii.chain(clean).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    Curve { attack: &attacks[0].attack, norm: attacks[0].norm, points }
}

fn figure(models: &[&AttackedModel]) -> Result<Figure> {
    let of_model = |(i, model)| curves(model).into_iter().map(move |curve| (hue(i), curve));
    let all = models.iter().copied().enumerate().flat_map(of_model);
    let panels = grouped(all, |(_, curve)| (curve.attack, curve.norm));
    let legend = models.iter().enumerate();
    let legend = legend.map(|(i, model)| Legend { label: model.name.clone(), hue: hue(i) });
    let caption = "Robust accuracy (percent) against the radius, in units of [0, 1] pixels; radius 0 \
                   is the clean accuracy. Bands are ± one standard deviation over seeds.";
    let plots = panels.iter().map(|curves| plot(curves)).collect();
    Figure::of(caption.into(), legend.collect(), plots)
}

fn plot(curves: &[(Hue, Curve<'_>)]) -> Plot {
    let last = |(_, curve): &(Hue, Curve<'_>)| curve.points.last().map_or(0.0, |point| point.0);
    let end = curves.iter().map(last).fold(1e-6, f64::max);
    let x = XAxis { name: "radius", ends: (0.0, end), label: radius };
    let series =
        |(hue, curve): &(Hue, Curve<'_>)| Series { hue: *hue, points: curve.points.clone() };
    let series = curves.iter().map(series).collect();
    let title = format!("{}, {}", curves[0].1.attack, norm(curves[0].1.norm));
    Plot::new(title, Lines { x, y: (0.0, 101.0), series, mark: 5 })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_curve_begins_at_the_clean_accuracy_and_is_sorted() {
        let all = fixture::summary();
        let curves = curves(&all.models[1]);
        let pgd = curves.iter().find(|curve| curve.attack == "pgd").unwrap();
        let radii: Vec<_> = pgd.points.iter().map(|point| radius(point.0)).collect();
        assert_eq!(radii, ["0", "0.05", "0.1", "0.2", "0.3"]);
        assert!((pgd.points[0].1 - 99.1).abs() < 1e-9, "{:?}", pgd.points[0]);
        assert!(curves.iter().all(|curve| curve.attack != "fgsm"), "one radius is no curve");
    }

    #[test]
    fn eight_models_are_two_figures() {
        let mut all = fixture::summary();
        all.models = all.models.iter().cycle().take(8).cloned().collect();
        let Some(Section { blocks, .. }) = section(&all).unwrap() else { panic!("no section") };
        assert_eq!(blocks.len(), 2);
    }
}
