//! Which resource a request names, and what may be done with it.

/// A request method. Those without a name here are all alike to us: no route allows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// Any other.
    Other,
}

impl Method {
    /// All methods, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Put, Self::Post, Self::Delete, Self::Other];

    /// The method that a request line spells `name`; methods are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// The name on the wire and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        }
    }
}

/// A resource of the server, by its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// One key.
    Kv,
    /// Read many keys.
    BatchGet,
    /// Write many keys.
    BatchSet,
    /// Delete many keys.
    BatchDelete,
    /// Add to a counter.
    Incr,
    /// Liveness.
    Healthz,
    /// Readiness.
    Readyz,
    /// Prometheus.
    Metrics,
    /// The keys asked for most.
    HotKeys,
    /// The requests that took longest.
    SlowLog,
    /// Which core owns which key, and where it listens.
    Topology,
    /// The API's description.
    OpenApi,
    /// The page to read and try the API.
    Docs,
    /// The page that shows how the server does.
    Dashboard,
    /// No such path.
    Unknown,
}

impl Route {
    /// All routes, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Kv,
        Self::BatchGet,
        Self::BatchSet,
        Self::BatchDelete,
        Self::Incr,
        Self::Healthz,
        Self::Readyz,
        Self::Metrics,
        Self::HotKeys,
        Self::SlowLog,
        Self::Topology,
        Self::OpenApi,
        Self::Docs,
        Self::Dashboard,
        Self::Unknown,
    ];

    /// The template, as metrics label it.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Kv => "/v1/kv/:key",
            Self::BatchGet => "/v1/kv/batch/get",
            Self::BatchSet => "/v1/kv/batch/set",
            Self::BatchDelete => "/v1/kv/batch/delete",
            Self::Incr => "/v1/kv/incr",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::HotKeys => "/v1/admin/hotkeys",
            Self::SlowLog => "/v1/admin/slowlog",
            Self::Topology => "/v1/topology",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Dashboard => "/dashboard",
            Self::Unknown => "unknown",
        }
    }

    /// Whether this is what the cache is for, and not about the server. `MAX_INFLIGHT` counts such requests only: a server
    /// under load must still be seen to live.
    #[must_use]
    pub const fn is_about_keys(self) -> bool {
        matches!(self, Self::Kv | Self::BatchGet | Self::BatchSet | Self::BatchDelete | Self::Incr)
    }

    /// The methods that this route knows, as the `Allow` field lists them; nothing for an unknown path.
    #[must_use]
    pub const fn allow_header(self) -> &'static str {
        self.methods().0
    }

    /// Whether this route knows `method`.
    #[must_use]
    pub fn allows(self, method: Method) -> bool {
        self.methods().1.contains(&method)
    }

    /// The methods that this route knows, as text and one by one.
    const fn methods(self) -> (&'static str, &'static [Method]) {
        use Method::{Delete, Get, Head, Post, Put};
        match self {
            Self::Kv => ("GET, HEAD, PUT, DELETE", &[Get, Head, Put, Delete]),
            Self::BatchGet | Self::BatchSet | Self::BatchDelete | Self::Incr => ("POST", &[Post]),
            Self::Healthz
            | Self::Readyz
            | Self::Metrics
            | Self::HotKeys
            | Self::SlowLog
            | Self::Topology
            | Self::OpenApi
            | Self::Docs
            | Self::Dashboard => ("GET, HEAD", &[Get, Head]),
            Self::Unknown => ("", &[]),
        }
    }
}
