//! Makes the files of `src/site` ready to be embedded: takes the browser part of Swagger UI out of the archive that its
//! crate carries and uPlot from `third_party`, puts versions where they belong, and gives every file a tag of its content.
//! Reaches no network: everything comes from this tree and from packages that Cargo has checked already.

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};
use std::error::Error;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// What is taken from the archive, and under which name it is embedded.
const TAKEN: [(&str, &str); 4] = [
    ("dist/swagger-ui-bundle.js", "swagger-ui.js"),
    ("dist/swagger-ui.css", "swagger-ui.css"),
    ("LICENSE", "swagger-ui-license.txt"),
    ("NOTICE", "swagger-ui-notice.txt"),
];

/// What is taken from the source tree.
const OWN: [&str; 14] = [
    "openapi.json",
    "docs.html",
    "docs.js",
    "docs.css",
    "dashboard.html",
    "dashboard.css",
    "dashboard.js",
    "dashboard-admin.js",
    "dashboard-charts.js",
    "dashboard-format.js",
    "dashboard-history.js",
    "dashboard-metrics.js",
    "dashboard-panels.js",
    "dashboard-theme.js",
];

/// Where uPlot is, what is taken of it, and under which name it is embedded.
const UPLOT: &str = "third_party/uplot";
const UPLOT_TAKEN: [(&str, &str); 3] =
    [("uPlot.iife.min.js", "uplot.js"), ("uPlot.min.css", "uplot.css"), ("LICENSE", "uplot-license.txt")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/site");
    println!("cargo::rerun-if-changed={UPLOT}");
    let target = PathBuf::from(std::env::var("OUT_DIR")?);
    let swagger_ui_version = unpack(&target)?;
    println!("cargo::rustc-env=SWAGGER_UI_VERSION={swagger_ui_version}");
    let uplot_version = copy_uplot(&target)?;
    println!("cargo::rustc-env=UPLOT_VERSION={uplot_version}");
    for name in OWN {
        let text = std::fs::read_to_string(Path::new("src/site").join(name))?
            .replace("@PACKAGE_VERSION@", &std::env::var("CARGO_PKG_VERSION")?)
            .replace("@SWAGGER_UI_VERSION@", &swagger_ui_version)
            .replace("@UPLOT_VERSION@", &uplot_version);
        embed(&target, name, text.as_bytes())?;
    }
    Ok(())
}

/// Takes [`TAKEN`] out of the archive, and tells the version of Swagger UI: the archive's one folder is named for it.
fn unpack(target: &Path) -> Result<String, Box<dyn Error>> {
    let archive = ZipArchive::from_slice(SWAGGER_UI_VENDORED)?;
    let mut entries = archive.entries();
    let (mut version, mut taken) = (String::new(), 0);
    while let Some(entry) = entries.next_entry()? {
        let path = entry.file_path().try_normalize()?.as_ref().to_owned();
        let Some((folder, path)) = path.split_once('/') else { continue };
        let Some((_, name)) = TAKEN.iter().find(|(wanted, _)| *wanted == path) else { continue };
        let packed = archive.get_entry(entry.wayfinder())?;
        let mut content = Vec::new();
        match entry.compression_method() {
            CompressionMethod::STORE => packed.verifying_reader(packed.data()).read_to_end(&mut content)?,
            CompressionMethod::DEFLATE => {
                packed.verifying_reader(DeflateDecoder::new(packed.data())).read_to_end(&mut content)?
            }
            other => return Err(format!("{name} is packed by a method that is not known here: {other:?}").into()),
        };
        embed(target, name, &content)?;
        version = folder.strip_prefix("swagger-ui-").ok_or("the folder is not named for a version")?.to_owned();
        taken += 1;
    }
    if taken == TAKEN.len() { Ok(version) } else { Err("Swagger UI's archive lacks a file".into()) }
}

/// Takes [`UPLOT_TAKEN`] as it is, and tells the version of uPlot, which its first line has in brackets.
fn copy_uplot(target: &Path) -> Result<String, Box<dyn Error>> {
    for (path, name) in UPLOT_TAKEN {
        embed(target, name, &std::fs::read(Path::new(UPLOT).join(path))?)?;
    }
    let script = std::fs::read_to_string(Path::new(UPLOT).join(UPLOT_TAKEN[0].0))?;
    let banner = script.lines().next().unwrap_or_default();
    let version = banner.split_once("(v").and_then(|(_, rest)| rest.split_once(')'));
    Ok(version.ok_or("uPlot's first line does not tell its version")?.0.to_owned())
}

/// Leaves a file to be embedded, and its tag in an environment variable such as `TAG_OF_DOCS_JS`.
fn embed(target: &Path, name: &str, content: &[u8]) -> Result<(), Box<dyn Error>> {
    std::fs::write(target.join(name), content)?;
    let variable = name.replace(['.', '-'], "_").to_uppercase();
    println!("cargo::rustc-env=TAG_OF_{variable}={:016x}", fnv1a(content));
    Ok(())
}

/// FNV-1a: it only has to tell one release's file from another's, and nobody else chooses these bytes.
fn fnv1a(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
