//! A simulated world as a user describes it in a file.
//!
//! ```text
//! check       limits of numbers, lists and names; the error that names a field
//! schema      the fields of the file
//! validate    whether a scenario can be run
//! read        YAML → Scenario
//! ```

pub(crate) mod check;

mod schema;

mod validate;

mod read;

pub use check::Invalid;
pub use schema::{
    ModelError, Noise, Scenario, ScenarioEvent, ScenarioMode, ScenarioObjective, ScenarioService, Staleness,
};
