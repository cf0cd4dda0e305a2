//! How networks stand photographs that are worse than those they learned from.

use candle_core::Device;
use kd_adv::{Examples, Fgsm, Victim, attack, correct_rows};
use kd_core::{Net, Result, Stream};
use kd_data::{Corruption, Part};
use kd_report::Stressed;

/// The corruptions of ImageNet-C at its first and third severity (Hendrycks and Dietterich 2019,
/// arXiv:1903.12261).
const CORRUPTIONS: [Corruption; 6] = [
    Corruption::Blur { sigma: 1.0 },
    Corruption::Blur { sigma: 3.0 },
    Corruption::Noise { std: 0.08 },
    Corruption::Noise { std: 0.18 },
    Corruption::Jpeg { quality: 25 },
    Corruption::Jpeg { quality: 15 },
];
/// Radii of FGSM, in steps of a byte.
const STEPS: [u8; 2] = [1, 4];
/// Images that are looked at most.
const MOST: usize = 500;

/// The images that judge, in memory.
pub(crate) fn examples(part: &Part) -> Result<Examples> {
    let source = part.in_order(&Device::Cpu)?;
    let mut order = source.order(0);
    order.truncate(MOST);
    let mut all = Examples::default();
    for indices in order.chunks(16) {
        let batch = source.batch(0, indices)?;
        all.pixels.extend(batch.images.flatten_all()?.to_vec1::<f32>()?);
        all.labels.extend(batch.labels.to_vec1::<u32>()?);
        all.indices.extend(batch.indices);
    }
    Ok(all)
}

/// How many of `examples` each of `networks` has right under each kind of damage.
pub(crate) fn stressed(networks: &[&Net], examples: &Examples) -> Result<Vec<Stressed>> {
    let mut rows = Vec::new();
    for corruption in CORRUPTIONS {
        let damaged = damaged(corruption, networks[0].graph().image_shape, examples)?;
        let right = networks.iter().map(|net| right(net, &damaged)).collect::<Result<_>>()?;
        rows.push(Stressed { what: corruption.to_string(), right, total: examples.len() });
    }
    for steps in STEPS {
        let eps = f32::from(steps) / 255.0;
        let right =
            networks.iter().map(|net| withstood(net, examples, eps)).collect::<Result<_>>()?;
        rows.push(Stressed { what: format!("FGSM, {steps}/255"), right, total: examples.len() });
    }
    Ok(rows)
}

fn damaged(corruption: Corruption, shape: [usize; 3], examples: &Examples) -> Result<Examples> {
    let stream = Stream::new(0).at("stress");
    let one = |i: usize| {
        let stream = stream.number(u64::from(examples.indices[i]));
        corruption.apply(examples.image(i), shape, stream)
    };
    let images = (0..examples.len()).map(one).collect::<Result<Vec<_>>>()?;
    Ok(Examples { pixels: images.concat(), ..examples.clone() })
}

fn right(network: &Net, examples: &Examples) -> Result<usize> {
    let victim = Victim::new(network, network.graph().image_shape, &Device::Cpu)?;
    Ok(correct_rows(&victim, examples)?.len())
}

/// Images that the network has right after one step against it.
fn withstood(network: &Net, examples: &Examples, eps: f32) -> Result<usize> {
    let victim = Victim::new(network, network.graph().image_shape, &Device::Cpu)?;
    let fgsm = Fgsm { eps, ..Fgsm::default() };
    let attacked = attack(&fgsm, &victim, examples, Stream::new(0).at("stress"))?;
    Ok(attacked.successes.iter().filter(|success| !**success).count())
}
