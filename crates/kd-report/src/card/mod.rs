//! The card of a network that is given away: what it is, how good, how fast, and what it does not do.

mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;

use kd_core::record::Evaluation;
use kd_core::{Result, fsx};
use serde::{Deserialize, Serialize};

use crate::document::{Block, Document, Picture, Section};
use crate::stats::Stat;
use crate::{html, markdown};

/// Pictures that a card shows at most.
const MOST_PICTURES: usize = 12;

/// What is to be known of a network that is given away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// What it is called.
    pub name: String,
    /// Names of its classes, by label.
    pub class_names: Vec<String>,
    /// How it was made: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// What a reader must know before the first number.
    pub notices: Vec<String>,
    /// The big network.
    pub teacher: Shipped,
    /// The network itself.
    pub student: Shipped,
    /// The same in 8-bit integers.
    pub int8: Int8,
    /// Accuracies by seed.
    pub seeds: Vec<Seed>,
    /// What was tried, on the images that choices were made by.
    pub tried: Vec<Tried>,
    /// How it stands worse images.
    pub stressed: Vec<Stressed>,
    /// What the teacher has right and it has not.
    pub lost: Vec<Lost>,
    /// Its files: names, and what they are for.
    pub files: Vec<(String, String)>,
}

/// A network of a card.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shipped {
    /// What it is called.
    pub name: String,
    /// On the images that judge, with the softmax of the logits as they are.
    pub evaluation: Evaluation,
    /// The temperature that the images to choose by ask for, and the same at it.
    pub calibrated: (f64, Evaluation),
    /// Multiply-adds of one image.
    pub multiply_adds: u64,
    /// Numbers in its layers.
    pub n_parameters: usize,
    /// Times of one image.
    pub latency: Vec<Latency>,
}

/// Seconds of one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Threads that compute.
    pub threads: usize,
    /// Half of the times are below it.
    pub p50: f64,
    /// 99 of 100 are.
    pub p99: f64,
}

/// A network in 8-bit integers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Int8 {
    /// On the images that judge.
    pub evaluation: Evaluation,
    /// Accuracy that it loses on the images to choose by.
    pub lost_held_out: f64,
    /// Share of the images that judge on which it says what the network in f32 says.
    pub same: f64,
    /// Bytes of the weights in f32 by its own.
    pub smaller: f64,
    /// Whether it is among the files.
    pub kept: bool,
}

/// Accuracies of one seed on the images that judge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seed {
    /// The seed.
    pub seed: u64,
    /// Of the teacher of this seed, one of which taught the students of all seeds; nothing where the
    /// teacher came as it is.
    pub teacher: Option<f64>,
    /// Of the distilled student.
    pub distilled: f64,
    /// Of the same network, trained as long on labels alone.
    pub labels: f64,
}

/// A student that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// Its network.
    pub network: String,
    /// What it learned from.
    pub objective: String,
    /// Multiply-adds of one image.
    pub multiply_adds: u64,
    /// Accuracy on the images to choose by.
    pub top1: f64,
    /// Negative log-likelihood there, calibrated.
    pub nll: f64,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// Images under one kind of damage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stressed {
    /// The damage.
    pub what: String,
    /// Images that the teacher and the student have right.
    pub right: Vec<usize>,
    /// Number of images.
    pub total: usize,
}

/// An image that the teacher has right and the student has not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lost {
    /// Its place among the images that judge.
    pub place: usize,
    /// What it shows.
    pub label: u32,
    /// What the student takes it for.
    pub prediction: u32,
    /// The image as the networks see it; none where it is not to be shown.
    #[serde(skip)]
    pub png: Vec<u8>,
}

impl Card {
    /// Writes `card.md`, with its pictures in `lost/`, and `report.html` into `folder`.
    ///
    /// # Errors
    /// [`kd_core::Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let document = self.document();
        for (lost, name) in self.shown() {
            fsx::create_folder(&folder.join("lost"))?;
            fsx::write_atomic(&folder.join(name), &lost.png)?;
        }
        fsx::write_atomic(&folder.join("card.md"), markdown::render(&document).as_bytes())?;
        fsx::write_atomic(&folder.join("report.html"), html::render(&document).as_bytes())
    }

    /// The name of a class, or its number.
    fn class(&self, label: u32) -> String {
        let name = self.class_names.get(label as usize);
        name.map_or_else(|| label.to_string(), String::clone)
    }

    /// The images that are shown, and their files.
    fn shown(&self) -> impl Iterator<Item = (&Lost, String)> {
        let shown = self.lost.iter().filter(|lost| !lost.png.is_empty()).take(MOST_PICTURES);
        shown.map(|lost| (lost, format!("lost/{:05}.png", lost.place)))
    }

    fn document(&self) -> Document {
        let facts = Section {
            title: "How it was made".into(),
            blocks: vec![Block::Facts(self.facts.clone())],
        };
        let sections = [
            Section::of_table("How good it is", tables::networks(self)),
            Section::of("Over all seeds", self.over_seeds()),
            Section::of_table("By class", tables::classes(self)),
            Section::of("What the student lost", self.lost_blocks()),
            Section::of_table("On worse images", tables::stressed(self)),
            Section::of_table("How fast it is", tables::latency(self)),
            Section::of_table("What was tried", tables::tried(self)),
            Some(facts),
            Section::of_table("Files", tables::files(self)),
        ];
        Document {
            title: self.name.clone(),
            subtitle: self.lead(),
            // Its style puts pictures side by side.
            adversarial: true,
            notices: self.notices.clone(),
            sections: sections.into_iter().flatten().collect(),
        }
    }

    /// Its classes and its accuracy in a sentence.
    pub fn lead(&self) -> String {
        let own = &self.student.evaluation;
        let ratio = self.student.multiply_adds as f64 / self.teacher.multiply_adds.max(1) as f64;
        format!(
            "Tells {} classes apart: {} of {} images that it has not seen, where its teacher has {} right; \
             {:.0} % of the teacher's multiply-adds.",
            self.class_names.len(),
            tables::share_words(own),
            own.total,
            tables::share_words(&self.teacher.evaluation),
            100.0 * ratio,
        )
    }

    /// What the student keeps of the teacher's accuracy, and what distillation gained, over all seeds.
    fn over_seeds(&self) -> Vec<Block> {
        let table = tables::seeds(self);
        let kept = self.kept().map(Block::Text);
        kept.into_iter().chain([Block::Text(self.gain()), Block::Table(table)]).collect()
    }

    /// The mean accuracy of the students by that of the teachers. Relative errors of independent means add
    /// up as squares; there are as many degrees of freedom as those of one mean.
    fn kept(&self) -> Option<String> {
        let own = Stat::of(self.seeds.iter().map(|seed| seed.distilled).collect())?;
        let one = self.teacher.evaluation.top1;
        let of_teacher = self.seeds.iter().map(|seed| seed.teacher.unwrap_or(one));
        let theirs = Stat::of(of_teacher.collect()).filter(|theirs| theirs.mean > 0.0)?;
        let ratio = own.mean / theirs.mean;
        let base = format!(
            "The distilled student keeps {:.1}\u{a0}% of its teacher's accuracy",
            100.0 * ratio
        );
        if own.n == 1 {
            return Some(format!("{base}."));
        }
        let relative =
            |stat: &Stat| (stat.standard_error(0.0) / stat.mean.max(f64::MIN_POSITIVE)).powi(2);
        let half = student_t(own.n) * ratio * (relative(&own) + relative(&theirs)).sqrt();
        let [low, high] = [ratio - half, ratio + half].map(|end| 100.0 * end);
        Some(format!("{base} (95 % interval {low:.1} to {high:.1}, {} seeds).", own.n))
    }

    /// What distillation gained, paired by seed.
    fn gain(&self) -> String {
        let gains: Vec<f64> = self.seeds.iter().map(|seed| seed.distilled - seed.labels).collect();
        let n = gains.len();
        let Some(stat) = Stat::of(gains) else { return String::new() };
        let mean = 100.0 * stat.mean;
        let base = format!(
            "Beside the same network, trained as long on the labels alone and from the same first weights, \
             distillation gains {mean:+.2} points"
        );
        match n {
            1 => format!("{base} (one seed: no interval; `--seeds 3` gives one)."),
            _ => {
                let half = 100.0 * student_t(n) * stat.standard_error(0.0);
                let (low, high) = (mean - half, mean + half);
                format!("{base} (95 % interval {low:+.2} to {high:+.2}, {n} seeds, paired).")
            }
        }
    }

    fn lost_blocks(&self) -> Vec<Block> {
        let n = self.lost.len();
        let gained = self.student.evaluation.correct + n;
        let text = format!(
            "The teacher has {n} images right that the student has not; the student has {} right that the \
             teacher has not.",
            gained.saturating_sub(self.teacher.evaluation.correct)
        );
        let mut blocks = vec![Block::Text(text)];
        let table = tables::lost(self);
        if !table.rows.is_empty() {
            blocks.push(Block::Table(table));
        }
        let pictures: Vec<Picture> =
            self.shown().map(|(lost, file)| self.picture(lost, file)).collect();
        if !pictures.is_empty() {
            blocks.push(Block::Pictures(pictures));
        }
        blocks
    }

    fn picture(&self, lost: &Lost, file: String) -> Picture {
        let [label, prediction] = [lost.label, lost.prediction].map(|class| self.class(class));
        let caption = format!("{label}, taken for {prediction}");
        Picture { file, png: Ok(lost.png.clone()), rows: Vec::new(), caption }
    }
}

/// The 97.5 % quantile of Student's t with n - 1 degrees of freedom, for n from 2 on.
fn student_t(n: usize) -> f64 {
    const QUANTILES: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    QUANTILES.get(n.saturating_sub(2)).copied().unwrap_or(1.96)
}
