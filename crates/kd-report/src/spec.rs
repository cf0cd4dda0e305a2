//! The resolved spec: what the preset is, and the settings of each training.

use kd_core::record::{Setting, Settings};
use serde::Deserialize;

use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::{setting, settings, thousands};

/// What a report reads of it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Spec {
    /// What the preset is, in the suite's words.
    pub(crate) about: Option<String>,
    #[serde(default)]
    training: Vec<Training>,
}

#[derive(Debug, Deserialize)]
struct Training {
    name: String,
    model: Setting,
    plan: Plan,
    teacher: Option<Setting>,
    augment: Option<Settings>,
}

#[derive(Debug, Deserialize)]
struct Plan {
    n_epochs: u64,
    batch_size: u64,
    learning_rate: f64,
    optimizer: Option<Setting>,
    schedule: Option<Setting>,
    #[serde(flatten)]
    others: Settings,
}

impl Spec {
    /// Nothing of a spec that is not understood: the report shows its text in any case.
    pub(crate) fn parse(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// Name of the training whose network teaches in the training `name`.
    pub(crate) fn teacher_of(&self, name: &str) -> Option<&str> {
        let training = self.training.iter().find(|training| training.name == name)?;
        match trained_in(training.teacher.as_ref()?)? {
            Setting::Text(teacher) => Some(teacher),
            _ => None,
        }
    }

    /// The settings of the trainings.
    pub(crate) fn section(&self) -> Option<Section> {
        let names = ["training", "teacher", "network", "epochs", "batch", "learning rate"];
        let mut columns = Column::plain(&names);
        columns.extend(Column::plain(&["optimizer, schedule", "augmentation and more"]));
        let rows = self.training.iter().map(row).collect();
        let caption = "The settings of each training, as resolved; the objectives stand with the \
                       models."
            .into();
        Section::of_table("Settings", Table { caption, columns, rows })
    }
}

/// The training of this run that a teacher comes from.
fn trained_in(teacher: &Setting) -> Option<&Setting> {
    match teacher {
        Setting::Group(group) => group.get("training"),
        _ => None,
    }
}

/// The name of an earlier training, or where the teacher is.
fn teacher(value: &Setting) -> Cell {
    let name = trained_in(value).map(|name| Cell::Code(setting(name)));
    name.unwrap_or_else(|| Cell::Words(setting(value)))
}

fn row(training: &Training) -> Row {
    let plan = &training.plan;
    let joined = |parts: [Option<String>; 2]| {
        let parts = parts.into_iter().flatten().filter(|text| !text.is_empty());
        Cell::Words(parts.collect::<Vec<_>>().join("; "))
    };
    Row::Cells(vec![
        Cell::Code(training.name.clone()),
        training.teacher.as_ref().map_or(Cell::Empty, teacher),
        Cell::Words(setting(&training.model)),
        Cell::number(thousands(plan.n_epochs as usize)),
        Cell::number(thousands(plan.batch_size as usize)),
        Cell::number(plan.learning_rate.to_string()),
        joined([plan.optimizer.as_ref().map(setting), plan.schedule.as_ref().map(setting)]),
        joined([training.augment.as_ref().map(settings), Some(settings(&plan.others))]),
    ])
}
