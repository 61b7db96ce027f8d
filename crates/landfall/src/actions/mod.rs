pub mod drain;
pub mod inspect;
