//! Services of the clusterset, and the clusters that export any of them. The exporters are counted as imports change,
//! because they are read every few seconds and there are many thousand imports.

use std::collections::BTreeMap;

use landfall_core::name::{ClusterId, ServiceKey};

use crate::accept::Import;

/// Imports by service.
#[derive(Debug, Default)]
pub struct Imports {
    services: BTreeMap<ServiceKey, Import>,
    /// Number of services that each cluster exports, at least one.
    exporters: BTreeMap<ClusterId, usize>,
}

impl Imports {
    pub fn get(&self, key: &ServiceKey) -> Option<&Import> {
        self.services.get(key)
    }

    pub fn contains_key(&self, key: &ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// Returns the clusters that export any service, each once, in the order of their ids.
    pub fn exporters(&self) -> impl Iterator<Item = &ClusterId> {
        self.exporters.keys()
    }

    pub(super) fn insert(&mut self, import: Import) {
        self.remove(&import.key);
        for exporter in &import.exporters {
            *self.exporters.entry(exporter.clone()).or_default() += 1;
        }
        self.services.insert(import.key.clone(), import);
    }

    pub(super) fn remove(&mut self, key: &ServiceKey) {
        for exporter in self.services.remove(key).into_iter().flat_map(|import| import.exporters) {
            let Some(count) = self.exporters.get_mut(&exporter) else { continue };
            *count -= 1;
            if *count == 0 {
                self.exporters.remove(&exporter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::snapshot::ServiceKind;

    use super::*;

    fn import(name: &str, exporters: &[&str]) -> Import {
        Import {
            key: ServiceKey::new("shop", name).unwrap(),
            kind: ServiceKind::Headless,
            exporters: exporters.iter().map(|id| ClusterId::new(id).unwrap()).collect(),
            local_preference: None,
            weights: BTreeMap::new(),
        }
    }

    fn exporters(imports: &Imports) -> Vec<&str> {
        imports.exporters().map(ClusterId::as_str).collect()
    }

    #[test]
    fn cluster_is_an_exporter_while_it_exports_any_service() {
        let mut imports = Imports::default();
        imports.insert(import("web", &["east", "west", "west"]));
        imports.insert(import("db", &["east"]));
        assert_eq!(exporters(&imports), ["east", "west"]);
        imports.insert(import("web", &["north"]));
        assert_eq!(exporters(&imports), ["east", "north"], "the previous exporters are replaced");
        imports.remove(&ServiceKey::new("shop", "db").unwrap());
        imports.remove(&ServiceKey::new("shop", "db").unwrap());
        assert_eq!(exporters(&imports), ["north"]);
        assert!(imports.keys().eq([&ServiceKey::new("shop", "web").unwrap()]));
    }
}
