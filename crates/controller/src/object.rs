//! Kinds of objects that Landfall reads, and how their text becomes a value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use landfall_api::{
    ClusterFacts, EndpointSlice, Gateway, Meta, NetworkPricing, Node, SelectionPolicy, ServiceImport, ServiceSelection,
    Submariner,
};
use thiserror::Error;

use crate::text::{ReadError, Text};

/// Defines the kinds, one row each. The enums below and their functions are generated from the rows.
macro_rules! kinds {
    ($($kind:ident: $plural:literal in $group:literal $versions:expr, $need:ident, $author:ident;)*) => {
        /// Kinds that Landfall reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            pub const ALL: [Self; [$(stringify!($kind)),*].len()] = [$(Self::$kind),*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$kind => Row {
                        name: stringify!($kind),
                        plural: $plural,
                        group: $group,
                        versions: &$versions,
                        need: Need::$need,
                        author: Author::$author,
                    },)*
                }
            }
        }

        /// An object as it was written, before it is accepted.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Object {
            $($kind(Box<$kind>),)*
        }

        impl Object {
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            pub fn reference(&self) -> ObjectRef {
                match self {
                    $(Self::$kind(object) => object.metadata.reference(),)*
                }
            }

            pub fn read(kind: Kind, text: Text<'_>) -> Result<Self, ReadError> {
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(Box::new(text.read()?)),)*
                })
            }

            /// Returns the fields of the text that objects of `kind` do not have.
            pub fn unknown_fields(kind: Kind, text: Text<'_>) -> Vec<String> {
                match kind {
                    $(Kind::$kind => text.unknown_fields::<$kind>(),)*
                }
            }
        }
    };
}

kinds! {
    Submariner: "submariners" in "submariner.io" ["v1alpha1"], Optional, Shared;
    SelectionPolicy: "selectionpolicies" in "landfall.dev" ["v1alpha1"], Required, User;
    ServiceImport: "serviceimports" in "multicluster.x-k8s.io" ["v1beta1", "v1alpha1"], Required, Program;
    EndpointSlice: "endpointslices" in "discovery.k8s.io" ["v1"], Required, Program;
    Gateway: "gateways" in "submariner.io" ["v1"], Optional, Program;
    ServiceSelection: "serviceselections" in "landfall.dev" ["v1alpha1"], Required, Program;
    Node: "nodes" in "" ["v1"], Optional, Program;
    NetworkPricing: "networkpricings" in "landfall.dev" ["v1alpha1"], Optional, User;
    ClusterFacts: "clusterfacts" in "landfall.dev" ["v1alpha1"], Optional, User;
}

struct Row {
    name: &'static str,
    plural: &'static str,
    /// Empty for the core group.
    group: &'static str,
    /// Preferred version first.
    versions: &'static [&'static str],
    need: Need,
    author: Author,
}

#[derive(PartialEq)]
enum Need {
    /// Nothing can be planned without a list of this kind.
    Required,
    /// The CRD may be missing; the kind then has no objects.
    Optional,
}

#[derive(PartialEq)]
enum Author {
    /// Users, for Landfall alone. For ClusterFacts this applies to files only.
    User,
    /// Users, for Landfall and for Submariner.
    Shared,
    Program,
}

impl Kind {
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// Returns the API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.row().group
    }

    /// Returns the API versions that Landfall reads, preferred version first.
    pub fn versions(self) -> &'static [&'static str] {
        self.row().versions
    }

    /// Returns true if nothing can be planned without this kind. The CRDs of other kinds may be missing; those kinds
    /// then have no objects.
    pub fn is_required(self) -> bool {
        self.row().need == Need::Required
    }

    /// Returns true if users write this kind for Landfall alone. An unknown field in such an object is a mistake.
    pub fn is_written_for_us(self) -> bool {
        self.row().author == Author::User
    }

    /// Returns the versions with their group, as in `apiVersion`.
    pub fn api_versions(self) -> impl Iterator<Item = String> {
        self.versions().iter().map(move |version| match self.group() {
            "" => (*version).to_owned(),
            group => format!("{group}/{version}"),
        })
    }

    /// Returns the plural with its group, as `kubectl` accepts it: `serviceimports.multicluster.x-k8s.io`.
    pub fn resource(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// Finds a kind. Returns `None` if Landfall does not read this kind or version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = group_and_version(api_version);
        Self::ALL
            .into_iter()
            .find(|known| known.name() == kind && known.group() == group && known.versions().contains(&version))
    }
}

/// Splits an `apiVersion` into group and version. The core group has no name.
pub fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Empty for kinds without a namespace.
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl ObjectRef {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// Metadata with a name.
trait Named {
    fn reference(&self) -> ObjectRef;
}

impl Named for Meta {
    fn reference(&self) -> ObjectRef {
        ObjectRef::new(&self.namespace, &self.name)
    }
}

impl Named for ObjectMeta {
    fn reference(&self) -> ObjectRef {
        let text = |text: &'_ Option<String>| -> Box<str> { text.as_deref().unwrap_or_default().into() };
        ObjectRef { namespace: text(&self.namespace), name: text(&self.name) }
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

/// A problem with an object, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{kind} {object}: {what}", origin.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
pub struct Problem {
    /// File that contains the object, in file mode.
    pub origin: Option<Arc<Path>>,
    pub kind: Kind,
    pub object: ObjectRef,
    /// Field, and what is wrong with it.
    pub what: String,
}
