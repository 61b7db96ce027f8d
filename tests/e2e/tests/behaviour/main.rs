//! What Landfall promises, on real API servers. One binary, so that tests share two clusters; one module per promise.

mod admission;
mod bed;
mod broker_at_home;
mod broker_errors;
mod broker_identity;
mod cannot_run;
mod conflict;
mod drain;
mod explain;
mod hostile_facts;
mod housekeeping;
mod leadership;
mod lighthouse;
mod neighbour;
mod odd_objects;
mod optimized;
mod outage;
mod presence;
mod prometheus;
mod readiness;
mod shadow;
mod submariner;
mod tables;
mod weights;
