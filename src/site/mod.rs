//! What the server has to show of itself: the API's description, the page to read and try it, and the page that shows
//! how the server does.
//!
//! These are bytes of the program: they are the same on every core, need no question to anybody, and change only with
//! the release. Anything that has the version of Swagger UI or of uPlot in its name may be kept for ever; the rest is
//! asked for anew each time, and answered with 304 as long as the release is the same.
//!
//! The pages live on the origin of the API, where a visitor may type in a token. So they may load and call nothing but
//! that origin, run no script that is not one of these files, stand in nobody's frame, and take nothing from their own
//! address.

/// Where the description is.
pub const DESCRIPTION: &str = "/openapi.json";
/// Where the page is; its files are below.
pub const PAGE: &str = "/docs";
/// Where the page is that shows how the server does; its files are below.
pub const DASHBOARD: &str = "/dashboard";

/// The fields of a page. Images may be `data:`, for those that are in Swagger UI's styles.
const PAGE_FIELDS: &str = concat!(
    "\r\nCache-Control: no-cache",
    "\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "\r\nCross-Origin-Opener-Policy: same-origin",
    "\r\nCross-Origin-Resource-Policy: same-origin",
    "\r\nReferrer-Policy: no-referrer",
    "\r\nX-Frame-Options: DENY"
);
/// The fields of what changes with the release.
const FRESH: &str = "\r\nCache-Control: no-cache\r\nCross-Origin-Resource-Policy: same-origin";
/// The fields of what never changes under its name.
const FOR_EVER: &str =
    "\r\nCache-Control: public, max-age=31536000, immutable\r\nCross-Origin-Resource-Policy: same-origin";

/// Bytes that are served as they are.
#[derive(Debug)]
pub struct Resource {
    /// Where it is.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// Further fields of the answer's head, each beginning with CR LF.
    pub fields: &'static str,
    /// Its entity tag without quotes: 16 hexadecimal digits, others for other bytes.
    pub tag: &'static str,
    /// The bytes.
    pub body: &'static [u8],
}

/// A resource made of the embedded file `$file`, the tag of which is in the variable `$tag`.
macro_rules! resource {
    ($path:expr, $content_type:literal, $fields:expr, $file:literal, $tag:literal) => {
        Resource {
            path: $path,
            content_type: $content_type,
            fields: $fields,
            tag: env!($tag),
            body: include_bytes!(concat!(env!("OUT_DIR"), "/", $file)),
        }
    };
}

/// One of our own scripts.
macro_rules! script {
    ($path:literal, $file:literal, $tag:literal) => {
        resource!($path, "text/javascript; charset=utf-8", FRESH, $file, $tag)
    };
}

/// Everything there is.
static RESOURCES: [Resource; 21] = [
    resource!(DESCRIPTION, "application/json; charset=utf-8", FRESH, "openapi.json", "TAG_OF_OPENAPI_JSON"),
    resource!(PAGE, "text/html; charset=utf-8", PAGE_FIELDS, "docs.html", "TAG_OF_DOCS_HTML"),
    script!("/docs/page.js", "docs.js", "TAG_OF_DOCS_JS"),
    resource!("/docs/page.css", "text/css; charset=utf-8", FRESH, "docs.css", "TAG_OF_DOCS_CSS"),
    resource!(
        concat!("/docs/swagger-ui-", env!("SWAGGER_UI_VERSION"), ".js"),
        "text/javascript; charset=utf-8",
        FOR_EVER,
        "swagger-ui.js",
        "TAG_OF_SWAGGER_UI_JS"
    ),
    resource!(
        concat!("/docs/swagger-ui-", env!("SWAGGER_UI_VERSION"), ".css"),
        "text/css; charset=utf-8",
        FOR_EVER,
        "swagger-ui.css",
        "TAG_OF_SWAGGER_UI_CSS"
    ),
    resource!(
        "/docs/swagger-ui-license.txt",
        "text/plain; charset=utf-8",
        FRESH,
        "swagger-ui-license.txt",
        "TAG_OF_SWAGGER_UI_LICENSE_TXT"
    ),
    resource!(
        "/docs/swagger-ui-notice.txt",
        "text/plain; charset=utf-8",
        FRESH,
        "swagger-ui-notice.txt",
        "TAG_OF_SWAGGER_UI_NOTICE_TXT"
    ),
    resource!(DASHBOARD, "text/html; charset=utf-8", PAGE_FIELDS, "dashboard.html", "TAG_OF_DASHBOARD_HTML"),
    resource!("/dashboard/page.css", "text/css; charset=utf-8", FRESH, "dashboard.css", "TAG_OF_DASHBOARD_CSS"),
    script!("/dashboard/page.js", "dashboard.js", "TAG_OF_DASHBOARD_JS"),
    script!("/dashboard/admin.js", "dashboard-admin.js", "TAG_OF_DASHBOARD_ADMIN_JS"),
    script!("/dashboard/charts.js", "dashboard-charts.js", "TAG_OF_DASHBOARD_CHARTS_JS"),
    script!("/dashboard/format.js", "dashboard-format.js", "TAG_OF_DASHBOARD_FORMAT_JS"),
    script!("/dashboard/history.js", "dashboard-history.js", "TAG_OF_DASHBOARD_HISTORY_JS"),
    script!("/dashboard/metrics.js", "dashboard-metrics.js", "TAG_OF_DASHBOARD_METRICS_JS"),
    script!("/dashboard/panels.js", "dashboard-panels.js", "TAG_OF_DASHBOARD_PANELS_JS"),
    script!("/dashboard/theme.js", "dashboard-theme.js", "TAG_OF_DASHBOARD_THEME_JS"),
    resource!(
        concat!("/dashboard/uplot-", env!("UPLOT_VERSION"), ".js"),
        "text/javascript; charset=utf-8",
        FOR_EVER,
        "uplot.js",
        "TAG_OF_UPLOT_JS"
    ),
    resource!(
        concat!("/dashboard/uplot-", env!("UPLOT_VERSION"), ".css"),
        "text/css; charset=utf-8",
        FOR_EVER,
        "uplot.css",
        "TAG_OF_UPLOT_CSS"
    ),
    resource!(
        "/dashboard/uplot-license.txt",
        "text/plain; charset=utf-8",
        FRESH,
        "uplot-license.txt",
        "TAG_OF_UPLOT_LICENSE_TXT"
    ),
];

/// What is at `path`, if anything is.
#[must_use]
pub fn find(path: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.path == path)
}

#[cfg(test)]
mod tests;
