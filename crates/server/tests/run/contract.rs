//! What a running instance tells programs: by curl, beside what its OpenAPI document promises.

/// Requests that another program makes of the document.
mod driven;

use serde_json::{Value, json};

use crate::http2::metric;
use crate::process::{Evenkeel, Folder, Server};
use crate::tls::Authority;

/// Status, media type and body of an answer.
fn asked(keel: &Evenkeel, method: &str, path: &str) -> (u64, String, Value) {
    // The one that asks for a body.
    let body = match (method, path.split('?').next()) {
        ("POST", Some("/v1/explain")) => r#"{"url":"http://a.test/who"}"#,
        _ => "",
    };
    written(keel, method, path, "If-Match: *", body)
}

/// The same with a body, for who has seen this.
fn written(
    keel: &Evenkeel,
    method: &str,
    path: &str,
    seen: &str,
    body: &str,
) -> (u64, String, Value) {
    let mut arguments = vec![
        "-X",
        method,
        "-H",
        "X-Evenkeel: 1",
        "-H",
        seen,
        "-w",
        "\n%{content_type}\n%{http_code}",
    ];
    if !body.is_empty() {
        arguments.extend(["--data-binary", body]);
    }
    let out = keel.asked(&arguments, path);
    let (rest, status) = out.rsplit_once('\n').unwrap();
    let (body, kind) = rest.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {out}"));
    (status.parse().unwrap(), kind.to_owned(), body)
}

fn page(keel: &Evenkeel, path: &str) -> Value {
    let (status, _, body) = asked(keel, "GET", path);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// A listener with TLS and one without, a service with everything that has rows of its own, one of 2,500 backends, and rules with secrets.
fn whole(folder: &Folder, server: &Server) -> Evenkeel {
    Authority::new(folder, "authority").make("site", &["site.test", "*.site.test"]);
    let many: Vec<_> = (0..2500)
        .map(|at| format!("\"10.0.{}.{}:80\"", at / 250, at % 250 + 1))
        .collect();
    let text = format!(
        "admin: {{ bind: \"127.0.0.1:0\", records: {{ share: 100% }} }}
workers: 2
alerts: {{ webhooks: [{{ name: none, to: \"http://127.0.0.1:1\", attempts: 1 }}] }}
listeners:
  web: {{ bind: \"127.0.0.1:0\" }}
  websafe: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: site.pem, key: site.key }}] }} }}
services:
  api:
    backends: [{{ id: \"one/a\", address: \"{}\", weight: 3 }}, {{ id: two, address: \"127.0.0.1:1\", state: disabled }}]
    limits: {{ max_in_flight: 7, queue: {{ length: 5, timeout: 1s }} }}
    affinity: {{ source: true }}
    adjust: on
    health: {{ tcp: {{}}, interval: 100ms }}
  many: {{ backends: [{}] }}
  gone: {{ backends: [\"127.0.0.1:1\"] }}
  dead: {{ health: {{ tcp: {{}}, interval: 1h, interval_unsure: 1h, fall: 1 }}, backends: [\"127.0.0.1:1\"] }}
rules:
  - {{ name: secret, priority: 5, when: {{ host: [a.test, \"*.b.test\"], header: {{ X-Api-Key: hunter2, User-Agent: seen }} }}, respond: {{ status: 204 }} }}
  - {{ name: code, priority: 7, when: {{ query: {{ code: hunter3 }}, not: {{ cookie: {{ sid: hunter4 }} }} }}, deny: true }}
  - {{ name: values, priority: 8, when: {{ path: /hook/eyJhbGciOi.hunter5.x, header: {{ X-One: \"Bearer hunter6\", X-Two: {{ regex: \"(?i)^basic hunter7\" }}, Accept: \"*eyJhbGciOi.hunter8.*\" }} }}, deny: true }}
  - {{ name: keys, priority: 8, when: {{ query: {{ plain: \"a?to=//hunter9\" }}, cookie: {{ seen-too: \"user=1&pin=hunter10\" }} }}, deny: true }}
  - {{ name: keyed, priority: 8, when: {{ query: {{ \"c*\": hunter11 }} }}, deny: true }}
  - {{ name: plain, priority: 8, when: {{ header: {{ X-Origin-Verify: hunter13, Accept: [\"text/html\", \"Bearer hunter14\"], Upgrade: websocket }}, cookie: {{ theme: hunter15, back: {{ present: true }} }}, query: {{ lang: de }} }}, deny: true }}
  - {{ name: plainly, priority: 8, when: {{ query: {{ tier: hunter16 }}, not: {{ header: {{ X-Edge: hunter17 }} }} }}, deny: true }}
  - {{ name: any, priority: 8, when: {{ query: hunter12 }}, deny: true }}
  - {{ name: split, priority: 6, when: {{ path: {{ prefix: /split }} }}, forward: {{ to: {{ api: 9, many: 1 }} }} }}
  - {{ name: gone, priority: 9, when: {{ path: /gone }}, forward: gone }}
  - {{ name: rest, priority: 9, forward: api }}
",
        server.address,
        many.join(", ")
    );
    let file = folder.write("keel.yaml", &text);
    Evenkeel::run(&["-c", file.to_str().unwrap()])
}

#[test]
fn each_resource_tells_what_is() {
    let (folder, files) = (Folder::new("contract"), Folder::new("contract-files"));
    files.write("who", "one\n");
    let server = Server::nginx(&files, "");
    let keel = whole(&folder, &server);
    assert_eq!(keel.curl(&[], "/who"), "one\n");
    // It is counted a moment after its client has it.
    metric(
        &keel,
        "evenkeel_requests_total{service=\"api\",code=\"2xx\"} 1",
    );
    let version = page(&keel, "/v1/version");
    assert_eq!(version["process"], keel.id());
    assert_eq!(version["configuration"]["reloads_taken"], 0);
    let workers = page(&keel, "/v1/workers");
    assert_eq!(workers.as_array().unwrap().len(), 2);
    assert_eq!(workers[1]["contained_panics"], 0);
    let listeners = page(&keel, "/v1/listeners?limit=1");
    assert_eq!(
        (&listeners["total"], &listeners["next"]),
        (&2.into(), &"web".into())
    );
    assert_eq!(listeners["items"][0]["accepted"], 1);
    let listeners = page(&keel, "/v1/listeners?after=web");
    assert_eq!(
        (&listeners["items"][0]["name"], &listeners["next"]),
        (&"websafe".into(), &Value::Null)
    );
    assert_eq!(listeners["items"][0]["tls"], true);
    let certificates = page(&keel, "/v1/certificates");
    assert_eq!(
        certificates[0]["names"],
        json!(["site.test", "*.site.test"])
    );
    assert!(certificates[0]["seconds_left"].as_i64().unwrap() > 0);
    let rules = page(&keel, "/v1/rules");
    let secret = &rules["items"][0];
    assert_eq!(
        secret["conditions"][0],
        json!({ "key": "host", "values": ["a.test", "*.b.test"] })
    );
    assert_eq!(
        secret["action"],
        json!({ "action": "respond", "status": 204 })
    );
    let text = rules.to_string();
    assert!(
        text.contains("\"seen\"") && text.contains("(not shown)") && !text.contains("hunter"),
        "{text}"
    );
    assert_eq!(
        rules["items"][1]["action"]["services"][0],
        json!({ "service": "api", "weight": 9 })
    );
    let services = page(&keel, "/v1/services");
    assert_eq!(services["items"][1]["name"], "many");
    let api = page(&keel, "/v1/services/api");
    assert_eq!(api["answers"]["2xx"], 1);
    assert_eq!(
        (&api["backends"]["disabled"], &api["max_in_flight"]),
        (&1.into(), &7.into())
    );
    let one = page(&keel, "/v1/services/api/backends/one%2Fa");
    assert_eq!(
        (&one["id"], &one["weight"], &one["wanted"]),
        (&"one/a".into(), &3.into(), &"enabled".into())
    );
    assert_eq!(one["address"], server.address.to_string());
    assert_eq!(
        (&one["attempts"]["finished"], &one["attempts"]["failed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&one["share_wanted"], &one["share_got"]),
        (&1.0.into(), &1.0.into())
    );
    assert_eq!(one["breaker"]["gate"], "closed");
    let two = page(&keel, "/v1/services/api/backends/two");
    assert_eq!(
        (&two["standing"], &two["share_wanted"]),
        (&"disabled".into(), &0.0.into())
    );
    let affinity = page(&keel, "/v1/affinity");
    assert_eq!(
        (&affinity["total"], &affinity["items"][0]["clients"]["kept"]),
        (&1.into(), &1.into())
    );
    let limits = page(&keel, "/v1/limits");
    let has = |row: Value| assert!(limits.as_array().unwrap().contains(&row), "{row} {limits}");
    has(json!({ "of": "service", "name": "api", "limit": "in_flight", "used": 0, "most": 7 }));
    has(
        json!({ "of": "listener", "name": "websafe", "limit": "handshakes", "used": 0, "most": 1000 }),
    );
    // What is told of it is told of the running plan.
    keel.asked(
        &["-X", "POST", "-H", "X-Evenkeel: 1", "-H", "If-Match: *"],
        "/v1/services/api/backends/two/enable",
    );
    assert_eq!(
        page(&keel, "/v1/services/api/backends/two")["wanted"],
        "enabled"
    );
}

#[test]
fn a_long_list_comes_in_pages() {
    let (folder, files) = (
        Folder::new("contract-pages"),
        Folder::new("contract-pages-files"),
    );
    let server = Server::nginx(&files, "");
    let keel = whole(&folder, &server);
    let (mut seen, mut after) = (Vec::new(), String::new());
    for rows in [1000, 1000, 500] {
        let list = page(
            &keel,
            &format!("/v1/services/many/backends?limit=1000{after}"),
        );
        let items = list["items"].as_array().unwrap();
        assert_eq!((items.len(), &list["total"]), (rows, &2500.into()));
        seen.extend(
            items
                .iter()
                .map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        after = format!("&after={}", list["next"].as_str().unwrap_or_default());
    }
    assert_eq!(after, "&after=");
    assert_eq!((&*seen[0], &*seen[2499]), ("10.0.0.1:80", "10.0.9.250:80"));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2500);
    let first = page(&keel, "/v1/services/many/backends");
    assert_eq!(first["items"].as_array().unwrap().len(), 100);
    let (status, _, problem) = asked(&keel, "GET", "/v1/services/many/backends?after=10.0.0.1:81");
    assert_eq!(
        (status, &problem["reason"]),
        (404, &"unknown_backend".into())
    );
    assert!(problem["did_you_mean"].is_string(), "{problem}");
}

/// The revision that runs.
fn seen(keel: &Evenkeel) -> String {
    let version = page(keel, "/v1/version");
    let revision = version["configuration"]["revision"].as_str().unwrap();
    format!("If-Match: \"{revision}\"")
}

/// What an operation asks for in its body.
fn body_of(id: &str) -> &'static str {
    match id {
        "put_backend" => "{\"address\": \"127.0.0.1:1\"}",
        "patch_backend" => "{\"weight\": 2}",
        "patch_service" => "{\"timeouts\": {\"per_try\": \"2s\"}}",
        "put_policy" => "\"adaptive\"",
        "put_rule" => {
            "{\"priority\": 6, \"when\": {\"path\": {\"prefix\": \"/split\"}}, \"forward\": \"many\"}"
        }
        "order_rules" => {
            "{\"rules\": [\"secret\", \"split\", \"code\", \"values\", \"keys\", \"keyed\", \"plain\", \"plainly\", \"any\", \"gone\", \"rest\"]}"
        }
        "explain" => "{\"url\": \"http://a.test/who\"}",
        "silence" => "{\"service\": \"api\", \"for_seconds\": 60, \"why\": \"work\"}",
        "verdict" => "{\"verdict\": \"up\", \"for_seconds\": 1}",
        _ => "",
    }
}

/// Each operation of the document, asked as it says and as it does not: its answers are of the statuses, media types and shapes that
/// stand there, and nothing stands in them that does not.
#[test]
fn every_answer_is_as_the_document_has_it() {
    let (folder, files) = (
        Folder::new("contract-document"),
        Folder::new("contract-document-files"),
    );
    files.write("who", "one\n");
    let server = Server::nginx(&files, "");
    let keel = whole(&folder, &server);
    assert_eq!(keel.curl(&[], "/who"), "one\n");
    assert!(keel.curl(&[], "/gone").contains("502"));
    let failed = page(&keel, "/v1/requests?failed=true");
    // By this it is known as one that was recorded, too.
    let failed = failed["items"][0]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = page(&keel, "/v1/openapi.json");
    // Served is the file as it was built in: what holds it to the code is the code.
    let told: Value = serde_json::from_str(&evenkeel_admin::openapi()).unwrap();
    assert!(
        document == told,
        "docs/openapi.json is stale: `cargo xtask openapi`"
    );
    // A second revision, which has one before it.
    let weight = "{\"weight\": 2}";
    let two = "/v1/services/api/backends/two";
    let (status, _, body) = written(&keel, "PATCH", two, &seen(&keel), weight);
    assert_eq!(status, 200, "{body}");
    // What is wrong for a while is an alert.
    let alert = (0..10_000).find_map(|_| {
        let number = &page(&keel, "/v1/alerts")["items"][0]["number"];
        number.as_u64().map(|number| number.to_string())
    });
    let alert = alert.expect("an alert of the service that nobody serves");
    let (status, _, silence) = written(
        &keel,
        "POST",
        "/v1/silences",
        &seen(&keel),
        body_of("silence"),
    );
    assert_eq!(status, 200, "{silence}");
    let silence = silence["number"].to_string();
    // Nobody takes what is told of it.
    let letter = (0..10_000).find_map(|_| {
        let number = &page(&keel, "/v1/webhooks")["dead"][0]["number"];
        number.as_u64().map(|number| number.to_string())
    });
    let letter = letter.expect("a dead letter");
    let (mut answers, mut refusals) = (0, 0);
    let mut goes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        // One that is out, for who reports it.
        let given = ["-d", "", "-H", "X-Evenkeel: 1"];
        let given = keel.asked(&given, "/v1/services/many/picks");
        let given: Value = serde_json::from_str(&given).unwrap();
        let pick = given["picks"][0]["pick"].as_str().unwrap();
        let of = |names: [(&str, &str); 11]| {
            names
                .iter()
                .fold(path.clone(), |path, (part, name)| path.replace(part, name))
        };
        let known = of([
            ("{service}", "api"),
            ("{backend}", "two"),
            ("{listener}", "web"),
            ("{pick}", pick),
            ("{reason}", "query"),
            ("{rule}", "split"),
            ("{revision}", "2"),
            ("{request}", &failed),
            ("{alert}", &alert),
            ("{silence}", &silence),
            ("{letter}", &letter),
        ]);
        let strange = of([
            ("{service}", "apy"),
            ("{backend}", "tow"),
            ("{listener}", "wep"),
            ("{pick}", "0-0-0"),
            ("{reason}", "quary"),
            ("{rule}", "splot"),
            ("{revision}", "99999"),
            ("{request}", "0-99999"),
            ("{alert}", "99999"),
            ("{silence}", "99999"),
            ("{letter}", "99999"),
        ]);
        let broken = of([
            ("{service}", "a%FF"),
            ("{backend}", "%C3"),
            ("{listener}", "%80"),
            ("{pick}", "%FF"),
            ("{reason}", "%FF"),
            ("{rule}", "%FF"),
            ("{revision}", "%FF"),
            ("{request}", "%FF"),
            ("{alert}", "%FF"),
            ("{silence}", "%FF"),
            ("{letter}", "%FF"),
        ]);
        for (method, operation) in item.as_object().unwrap() {
            let verb = method.to_uppercase();
            let id = operation["operationId"].as_str().unwrap();
            let body = body_of(id);
            let mut rows = vec![(format!("{known}?x%20y=1"), 400, "query")];
            match method == "delete" {
                // Others ask for it until then.
                true => goes.push((verb.clone(), known.clone())),
                false => rows.push((known.clone(), 200, "")),
            }
            // The others change nothing that has a revision.
            if method != "get" && path != "/v1/explain" && !path.contains("/picks") {
                let (status, kind, problem) = written(&keel, &verb, &known, "X-None: 1", body);
                let word = &problem["reason"];
                assert_eq!(
                    (status, &*kind),
                    (428, "application/problem+json"),
                    "{verb} {known}"
                );
                assert_eq!(word, "no_revision");
                let stale = "If-Match: \"1-00000000\"";
                let (status, _, problem) = written(&keel, &verb, &known, stale, body);
                assert_eq!(
                    (status, &problem["reason"]),
                    (412, &"stale".into()),
                    "{verb} {known}"
                );
                let promised = |status: &str| operation["responses"][status].is_object();
                assert!(promised("428") && promised("412"), "{verb} {path}");
            }
            let other = match &**method {
                // What is done there may be done once.
                "get" if item.get("post").is_some() => "PUT",
                "get" => "POST",
                _ => "GET",
            };
            if *path != known {
                rows.push((broken.clone(), 400, "path"));
            }
            // A rule of another name would come.
            if *path != known && id != "put_rule" {
                rows.push((strange.clone(), 404, "unknown_"));
            }
            let mut numbers = ["{revision}", "{alert}", "{silence}", "{letter}"].into_iter();
            let is_number = numbers.any(|part| path.contains(part));
            if *path != known && id != "put_rule" && !is_number {
                let hostile = "%00%1b%5b2J%22%3cx%3e".repeat(50);
                rows.push((
                    path.replace("{service}", &hostile)
                        .replace("{backend}", "b")
                        .replace("{listener}", &hostile)
                        .replace("{reason}", &hostile)
                        .replace("{rule}", &hostile)
                        .replace("{pick}", &hostile)
                        .replace("{request}", &hostile),
                    404,
                    "unknown_",
                ));
            }
            if operation["parameters"].to_string().contains("\"after\"") && path != "/v1/events" {
                rows.push((format!("{known}?limit=1"), 200, ""));
                rows.push((format!("{known}?limit=0"), 400, "query"));
                rows.push((format!("{known}?after=zzzzzzzz"), 404, "unknown_"));
            }
            for (path, status, word) in rows {
                let (got, kind, body) = written(&keel, &verb, &path, &seen(&keel), body);
                assert_eq!(got, status, "{verb} {path}: {body}");
                let promised = &operation["responses"][got.to_string()]["content"][&kind]["schema"];
                assert!(promised.is_object(), "{verb} {path}: {got} {kind}");
                fits(&document, promised, &body, &format!("{verb} {path}"));
                match word {
                    "" => answers += 1,
                    word => {
                        refusals += 1;
                        let reason = body["reason"].as_str().unwrap();
                        assert!(reason.starts_with(word), "{verb} {path}: {body}");
                        assert_eq!(body["status"], status);
                        // Its kind's URI leads to what it means.
                        let kind = page(&keel, body["type"].as_str().unwrap());
                        assert_eq!(
                            (&kind["title"], &kind["status"]),
                            (&body["title"], &body["status"])
                        );
                    }
                }
            }
            // By a name that a page's author may have led here, nothing is told nor changed.
            let foreign = ["-X", &verb, "-H", "X-Evenkeel: 1", "-H", "Host: a.test"];
            let out = keel.asked(&foreign, &known);
            assert!(
                out.contains("\"reason\":\"not_your_host\""),
                "{verb} {known}: {out}"
            );
            let (status, kind, body) = asked(&keel, other, &known);
            let same = item.get(other.to_lowercase()).is_some();
            assert!(
                same || (status, &*kind, &body["reason"])
                    == (405, "application/problem+json", &"method".into()),
                "{other} {known}: {body}"
            );
        }
    }
    for (verb, path) in goes {
        let (status, _, body) = written(&keel, &verb, &path, &seen(&keel), "");
        assert_eq!(status, 200, "{verb} {path}: {body}");
        answers += 1;
    }
    assert!(answers > 25 && refusals > 50, "{answers} {refusals}");
    assert!(page(&keel, "/v1/problems")[3]["reason"] == "query");
}

/// Whether a value is as a schema has it, with no key that the schema has not.
#[track_caller]
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(
            document,
            document.pointer(&reference[1..]).unwrap(),
            value,
            at,
        );
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let other = any.iter().find(|one| one["type"] != "null").unwrap();
        return if value.is_null() {
            assert!(any.len() > 1, "{at}");
        } else {
            fits(document, other, value, at);
        };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    // A schema without a type takes anything.
    let types = &schema["type"];
    let takes = |word: &str| {
        *types == word
            || types
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == word))
    };
    assert!(
        types.is_null() || takes(kind) || (kind == "integer" && takes("number")),
        "{at}: {value} is no {types}"
    );
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value}");
    }
    for (at_row, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item, &format!("{at}/{at_row}"));
    }
    let Some(all) = value.as_object().filter(|_| takes("object")) else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(all.contains_key(name.as_str().unwrap()), "{at}: no {name}");
    }
    for (name, value) in all {
        let of = match &schema["properties"][name] {
            Value::Null => &schema["additionalProperties"],
            named => named,
        };
        assert!(of.is_object(), "{at}: {name} stands nowhere");
        fits(document, of, value, &format!("{at}/{name}"));
    }
}
