//! Promises of Landfall, on real API servers. They are one binary, so that tests share two clusters, and one module per
//! promise.

mod admission;
mod bed;
mod broker_errors;
mod broker_identity;
mod broker_in_member;
mod cannot_run;
mod conflict;
mod drain;
mod explain;
mod hostile_facts;
mod housekeeping;
mod kubectl_get;
mod leadership;
mod lighthouse_agent;
mod lighthouse_objects;
mod odd_objects;
mod optimized;
mod outage;
mod presence;
mod prometheus;
mod readiness;
mod shadow;
mod submariner;
mod weights;
