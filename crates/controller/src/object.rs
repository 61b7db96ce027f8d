//! Which objects there are, and how their text becomes a value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use landfall_api::{
    ClusterFacts, EndpointSlice, Gateway, Meta, NetworkPricing, Node, SelectionPolicy, ServiceImport, ServiceSelection,
    Submariner,
};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The kinds that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Submariner,
    SelectionPolicy,
    ServiceImport,
    EndpointSlice,
    Gateway,
    ServiceSelection,
    Node,
    NetworkPricing,
    ClusterFacts,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Submariner,
        Self::SelectionPolicy,
        Self::ServiceImport,
        Self::EndpointSlice,
        Self::Gateway,
        Self::ServiceSelection,
        Self::Node,
        Self::NetworkPricing,
        Self::ClusterFacts,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Submariner => "Submariner",
            Self::SelectionPolicy => "SelectionPolicy",
            Self::ServiceImport => "ServiceImport",
            Self::EndpointSlice => "EndpointSlice",
            Self::Gateway => "Gateway",
            Self::ServiceSelection => "ServiceSelection",
            Self::Node => "Node",
            Self::NetworkPricing => "NetworkPricing",
            Self::ClusterFacts => "ClusterFacts",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Submariner => "submariners",
            Self::SelectionPolicy => "selectionpolicies",
            Self::ServiceImport => "serviceimports",
            Self::EndpointSlice => "endpointslices",
            Self::Gateway => "gateways",
            Self::ServiceSelection => "serviceselections",
            Self::Node => "nodes",
            Self::NetworkPricing => "networkpricings",
            Self::ClusterFacts => "clusterfacts",
        }
    }

    /// Empty: the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Submariner | Self::Gateway => "submariner.io",
            Self::SelectionPolicy | Self::ServiceSelection | Self::NetworkPricing | Self::ClusterFacts => {
                "landfall.dev"
            }
            Self::ServiceImport => "multicluster.x-k8s.io",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Node => "",
        }
    }

    /// The API versions that we read, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Submariner
            | Self::SelectionPolicy
            | Self::ServiceSelection
            | Self::NetworkPricing
            | Self::ClusterFacts => &["v1alpha1"],
            Self::ServiceImport => &["v1beta1", "v1alpha1"],
            Self::EndpointSlice | Self::Gateway | Self::Node => &["v1"],
        }
    }

    /// The versions with their group, as manifests name them.
    pub fn api_versions(self) -> impl Iterator<Item = String> {
        self.versions().iter().map(move |version| match self.group() {
            "" => (*version).to_owned(),
            group => format!("{group}/{version}"),
        })
    }

    /// `serviceimports.multicluster.x-k8s.io`: with its group, as `kubectl` takes it.
    pub fn resource(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// Nothing can be said without this kind. The others may not be installed, and then there are no objects of them.
    pub fn is_required(self) -> bool {
        match self {
            Self::SelectionPolicy | Self::ServiceImport | Self::EndpointSlice | Self::ServiceSelection => true,
            Self::Submariner | Self::Gateway | Self::Node | Self::NetworkPricing | Self::ClusterFacts => false,
        }
    }

    /// Users write these, facts in the files of a fleet that is only thought of, and only we define them: what is in them and
    /// has no meaning is a mistake.
    pub fn is_written_for_us(self) -> bool {
        match self {
            Self::SelectionPolicy | Self::NetworkPricing | Self::ClusterFacts => true,
            Self::Submariner
            | Self::ServiceImport
            | Self::EndpointSlice
            | Self::Gateway
            | Self::ServiceSelection
            | Self::Node => false,
        }
    }

    /// `None`: an object that is none of ours.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = group_and_version(api_version);
        Self::ALL
            .into_iter()
            .find(|known| known.name() == kind && known.group() == group && known.versions().contains(&version))
    }
}

/// Of an `apiVersion`; the core group has no name.
pub fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which object of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Empty where objects of that kind have none.
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl ObjectRef {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(meta: &Meta) -> Self {
        Self::new(&meta.namespace, &meta.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// An object as somebody wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Submariner(Box<Submariner>),
    SelectionPolicy(Box<SelectionPolicy>),
    ServiceImport(Box<ServiceImport>),
    EndpointSlice(Box<EndpointSlice>),
    Gateway(Box<Gateway>),
    ServiceSelection(Box<ServiceSelection>),
    Node(Box<Node>),
    NetworkPricing(Box<NetworkPricing>),
    ClusterFacts(Box<ClusterFacts>),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Submariner(_) => Kind::Submariner,
            Self::SelectionPolicy(_) => Kind::SelectionPolicy,
            Self::ServiceImport(_) => Kind::ServiceImport,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Gateway(_) => Kind::Gateway,
            Self::ServiceSelection(_) => Kind::ServiceSelection,
            Self::Node(_) => Kind::Node,
            Self::NetworkPricing(_) => Kind::NetworkPricing,
            Self::ClusterFacts(_) => Kind::ClusterFacts,
        }
    }

    /// From any text that can be read as the type that a kind has; `read` says how.
    pub fn read<E>(kind: Kind, read: impl Read<E>) -> Result<Self, E> {
        Ok(match kind {
            Kind::Submariner => Self::Submariner(Box::new(read.read()?)),
            Kind::SelectionPolicy => Self::SelectionPolicy(Box::new(read.read()?)),
            Kind::ServiceImport => Self::ServiceImport(Box::new(read.read()?)),
            Kind::EndpointSlice => Self::EndpointSlice(Box::new(read.read()?)),
            Kind::Gateway => Self::Gateway(Box::new(read.read()?)),
            Kind::ServiceSelection => Self::ServiceSelection(Box::new(read.read()?)),
            Kind::Node => Self::Node(Box::new(read.read()?)),
            Kind::NetworkPricing => Self::NetworkPricing(Box::new(read.read()?)),
            Kind::ClusterFacts => Self::ClusterFacts(Box::new(read.read()?)),
        })
    }
}

/// Which object it is.
pub fn reference(object: &Object) -> ObjectRef {
    let of = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        ObjectRef::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    };
    match object {
        Object::Submariner(object) => of(&object.metadata),
        Object::SelectionPolicy(object) => of(&object.metadata),
        Object::ServiceSelection(object) => of(&object.metadata),
        Object::NetworkPricing(object) => of(&object.metadata),
        Object::ClusterFacts(object) => of(&object.metadata),
        Object::ServiceImport(object) => ObjectRef::of(&object.metadata),
        Object::EndpointSlice(object) => ObjectRef::of(&object.metadata),
        Object::Gateway(object) => ObjectRef::of(&object.metadata),
        Object::Node(object) => ObjectRef::of(&object.metadata),
    }
}

/// Text of some format: what a closure cannot be, because it is generic in what it returns.
pub trait Read<E> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, E>;
}

/// JSON; the error names the field.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(pub &'a str);

#[derive(Debug, Error)]
#[error("{path}: {source}")]
pub struct JsonError {
    path: String,
    source: serde_json::Error,
}

impl Read<JsonError> for Json<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        let json = &mut serde_json::Deserializer::from_str(self.0);
        serde_path_to_error::deserialize(json)
            .map_err(|error| JsonError { path: error.path().to_string(), source: error.into_inner() })
    }
}

/// What is wrong with an object, and where, and so what to mend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{kind} {object}: {what}", origin.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
pub struct Problem {
    /// The file, in file mode.
    pub origin: Option<Arc<Path>>,
    pub kind: Kind,
    pub object: ObjectRef,
    /// The field, and what is wrong with it.
    pub what: String,
}
