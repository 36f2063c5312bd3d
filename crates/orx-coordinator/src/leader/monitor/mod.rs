//! Notices what nobody tells: workers that fell silent or were fenced, attempts past their time.

pub mod plan;
pub mod run;
