//! Finds out in which version an API server serves a kind.

use kube::Client;
use kube::api::ApiResource;

use landfall_controller::object::Kind;

/// Result of looking for a kind.
#[derive(Debug, Clone)]
pub enum Discovered {
    Served(ApiResource),
    Missing,
}

/// Returns the first version of the kind that the server serves, of those that we read, in order of preference.
pub async fn served(client: &Client, kind: Kind) -> kube::Result<Discovered> {
    for (version, api_version) in kind.versions().iter().zip(kind.api_versions()) {
        let resources = match kind.group() {
            "" => client.list_core_api_resources(&api_version).await,
            _ => client.list_api_group_resources(&api_version).await,
        };
        match resources {
            Ok(list) if list.resources.iter().any(|resource| resource.name == kind.plural()) => {
                return Ok(Discovered::Served(ApiResource {
                    group: kind.group().to_owned(),
                    version: (*version).to_owned(),
                    api_version,
                    kind: kind.name().to_owned(),
                    plural: kind.plural().to_owned(),
                }));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Discovered::Missing)
}
