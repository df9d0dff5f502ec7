//! The description and the server are held against each other where that needs no running server; `tests/api` does the
//! rest.

use super::*;
use crate::command::ValueKind;
use crate::limits::{
    BATCH_ITEMS_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, KEY_CHARS_MAX, MEDIA_TYPE_BYTES_MAX, REQUEST_ID_CHARS_MAX,
    RETRY_AFTER_SECS, SHARDS_MAX,
};
use crate::protocol::answer::ErrorCode;
use crate::protocol::route::{Method, Route};
use crate::protocol::target::{Target, allow_header, resolve};
use crate::routing::{HASH_NAME, OWNER_RULE};
use crate::time::Ttl;
use serde_json::Value;
use std::collections::BTreeSet;

fn text_of(path: &str) -> &'static str {
    std::str::from_utf8(find(path).unwrap().body).unwrap()
}

fn description() -> Value {
    serde_json::from_str(text_of(DESCRIPTION)).unwrap()
}

/// Calls `visit` with every object of `node`.
fn walk<'v>(node: &'v Value, visit: &mut impl FnMut(&'v serde_json::Map<String, Value>)) {
    match node {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|member| walk(member, visit));
        }
        Value::Array(elements) => elements.iter().for_each(|element| walk(element, visit)),
        _ => {}
    }
}

fn schema<'d>(description: &'d Value, name: &str) -> &'d Value {
    &description["components"]["schemas"][name]
}

#[test]
fn the_routes_and_their_methods_are_those_of_the_server() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let known = Route::ALL.into_iter().filter(|route| *route != Route::Unknown);
    let templates: BTreeSet<_> = known.map(|route| route.template().replace(":key", "{key}")).collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), templates);
    for (path, operations) in paths {
        let path = path.replace("{key}", "k");
        let documented: BTreeSet<_> = operations.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        let allowed = allow_header(&path, resolve(Method::Other, &path).route());
        assert_eq!(documented, allowed.split(", ").map(str::to_owned).collect(), "{path}");
        for method in Method::ALL {
            let allows = resolve(method, &path).route().allows(method);
            assert_eq!(allows, documented.contains(method.name()), "{method:?} {path}");
        }
    }
}

#[test]
fn the_codes_of_errors_are_those_of_the_server_and_stand_at_their_statuses() {
    let description = description();
    let names: Vec<_> = ErrorCode::ALL.into_iter().map(ErrorCode::name).collect();
    for schema_name in ["Error", "Conflict"] {
        let documented = &schema(&description, schema_name)["properties"]["error"]["properties"]["code"]["enum"];
        assert_eq!(*documented, Value::from(names.clone()));
    }
    for operation in
        description["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let Some(pointer) = response["$ref"].as_str() else { continue };
            let response = description.pointer(&pointer[1..]).unwrap();
            let example = &response["content"]["application/json"]["examples"]["error"]["value"]["error"]["code"];
            let expected = ErrorCode::of_status(status.parse().unwrap()).name();
            assert!(status == "304" || example == expected, "{status} {response}");
        }
    }
}

#[test]
fn the_limits_are_those_of_the_server() {
    let description = description();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    assert_eq!(number(&schema(&description, "Key")["maxLength"]), KEY_CHARS_MAX);
    let request_id = &description["components"]["headers"]["X-Request-ID"]["schema"]["maxLength"];
    assert_eq!(number(request_id), REQUEST_ID_CHARS_MAX);
    assert_eq!(description["components"]["headers"]["Retry-After"]["example"], RETRY_AFTER_SECS);
    for answer in ["Readiness", "Topology"] {
        assert_eq!(schema(&description, answer)["properties"]["shards"]["maximum"], SHARDS_MAX);
    }
    let topology = &schema(&description, "Topology")["properties"];
    assert_eq!((&topology["hash"]["const"], &topology["owner"]["const"]), (&HASH_NAME.into(), &OWNER_RULE.into()));
    let delta = &schema(&description, "IncrRequest")["properties"]["delta"];
    assert_eq!((delta["minimum"].as_i64(), delta["maximum"].as_i64()), (Some(i64::MIN), Some(i64::MAX)));
    let kinds = ValueKind::ALL.map(ValueKind::name);
    for entry in [&schema(&description, "Entry")["properties"], hit(&description)] {
        assert_eq!(entry["type"]["enum"], Value::from(kinds.to_vec()));
    }
    let (mut lists, mut ttls) = (0, 0);
    walk(&description, &mut |object| {
        // A list that always has the same length has no limit.
        if let Some(items_max) = object.get("maxItems").filter(|&max| object.get("minItems") != Some(max)) {
            lists += 1;
            assert_eq!(number(items_max), BATCH_ITEMS_MAX);
        }
        for ttl in object.get("ttlSec").into_iter().filter_map(|ttl| ttl.get("maximum")) {
            ttls += 1;
            assert_eq!(*ttl, Ttl::SECS_MAX);
        }
    });
    assert!(lists >= 6 && ttls >= 4, "{lists} {ttls}");
    assert_eq!(description["components"]["parameters"]["TtlSec"]["schema"]["maximum"], Ttl::SECS_MAX);
    let told = |text: String| assert!(text_of(DESCRIPTION).contains(&text), "the description does not tell: {text}");
    told(format!("{} KiB or has more than {HEAD_FIELDS_MAX} fields", HEAD_BYTES_MAX / 1024));
    told(format!("media type of at most {MEDIA_TYPE_BYTES_MAX} characters"));
    told(format!("1 to {REQUEST_ID_CHARS_MAX} visible ASCII characters"));
}

fn hit(description: &Value) -> &Value {
    &schema(description, "BatchGetAnswer")["properties"]["hits"]["items"]["properties"]
}

#[test]
fn the_description_is_whole_and_of_this_release() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut used = BTreeSet::new();
    walk(&description, &mut |object| {
        if let Some(Value::String(pointer)) = object.get("$ref") {
            assert!(description.pointer(&pointer[1..]).is_some(), "{pointer} leads nowhere");
            used.insert(pointer.clone());
        }
    });
    let known_by_headline = ["#/components/responses/MethodNotAllowed", "#/components/headers/Allow"];
    for (kind, components) in description["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let pointer = format!("#/components/{kind}/{name}");
            assert!(used.contains(&pointer) || known_by_headline.contains(&pointer.as_str()), "{pointer} is not used");
        }
    }
    let mut ids = BTreeSet::new();
    walk(&description["paths"], &mut |object| {
        if let Some(Value::String(id)) = object.get("operationId").filter(|_| object.contains_key("responses")) {
            assert!(ids.insert(id), "{id} is there twice");
        }
    });
}

#[test]
fn every_resource_is_found_under_its_route() {
    for resource in &RESOURCES {
        let route = match resource.path {
            DESCRIPTION => Route::OpenApi,
            path if path.starts_with(DASHBOARD) => Route::Dashboard,
            _ => Route::Docs,
        };
        assert_eq!(resolve(Method::Get, resource.path), Target::Fixed(route), "{}", resource.path);
        assert_eq!(crate::protocol::conditions::VERSION_CHARS, resource.tag.len());
        assert!(resource.fields.starts_with("\r\n") && !resource.fields.ends_with("\r\n") && !resource.body.is_empty());
    }
    for nothing in ["/docs/", "/docs/../openapi.json", "/dashboard/", "/docs/theme.js"] {
        assert!(find(nothing).is_none(), "{nothing}");
    }
}

#[test]
fn the_pages_need_only_what_is_here_and_run_no_script_of_their_own() {
    for page in [PAGE, DASHBOARD].map(text_of) {
        let mut links = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in page.split(attribute).skip(1) {
                let link = rest.split('"').next().unwrap();
                links += 1;
                let is_report = resolve(Method::Get, &format!("/{link}")).route() == Route::Metrics;
                let is_known = link == "data:," || is_report || find(&format!("/{link}")).is_some();
                assert!(is_known, "{link} leads nowhere");
            }
        }
        assert!(links >= 7, "{links}");
        let mut scripts = page.split("<script").skip(1);
        let is_file = |script: &str| script.starts_with(" src=") && script.contains("\"></script>");
        assert!(scripts.all(is_file), "a script stands in the page");
        let forbidden = ["style=", "<style", " onclick", " onload", " onerror"];
        assert!(forbidden.iter().all(|it| !page.contains(it)), "the policy forbids these");
    }
}

#[test]
fn the_pages_scripts_are_told_by_nobody_what_to_load() {
    let opens = text_of("/docs/page.js");
    for setting in
        ["url: \"openapi.json\"", "queryConfigEnabled: false", "validatorUrl: null", "persistAuthorization: false"]
    {
        assert!(opens.contains(setting), "{setting}");
    }
    assert!(!opens.contains("://"), "the page's script names an outside address");
    let dashboard = RESOURCES.iter().filter(|it| it.path.starts_with(DASHBOARD) && !it.path.contains("uplot"));
    for resource in dashboard {
        let text = text_of(resource.path);
        for outside in ["://", "eval(", "innerHTML", "insertAdjacentHTML", "document.write", "location.search"] {
            assert!(!text.contains(outside), "{} has {outside}", resource.path);
        }
        for rest in text.split("from \"./").skip(1) {
            let module = rest.split('"').next().unwrap();
            assert!(find(&format!("{DASHBOARD}/{module}")).is_some(), "{} imports {module}", resource.path);
        }
    }
}

#[test]
fn what_is_kept_for_ever_has_a_version_in_its_name() {
    for resource in &RESOURCES {
        let has_version = resource.path.contains(concat!("uplot-", env!("UPLOT_VERSION"), "."))
            || resource.path.contains(concat!("swagger-ui-", env!("SWAGGER_UI_VERSION"), "."));
        assert_eq!(resource.fields == FOR_EVER, has_version, "{}", resource.path);
    }
    assert!(text_of(concat!("/dashboard/uplot-", env!("UPLOT_VERSION"), ".js")).contains("uPlot"));
}

#[test]
fn the_page_may_reach_nothing_but_its_own_origin() {
    let policy = PAGE_FIELDS.split("Content-Security-Policy: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let directives: BTreeSet<_> = policy.split("; ").collect();
    for needed in
        ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        assert!(directives.contains(needed), "{needed}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'));
}
