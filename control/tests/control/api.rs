//! The control API over its socket.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sluice_control::api::routes::ROUTES;
use sluice_control::api::wire::{Event, Happening, NftAnswer, NftCommand, Status};
use sluice_control::client::ClientError;

use crate::server::Server;

fn command(text: &str) -> NftCommand {
    NftCommand {
        text: Some(text.to_owned()),
        ..NftCommand::default()
    }
}

const ADD_TABLE: &str = r#"{"text":"add table inet t"}"#;

#[tokio::test]
async fn the_document_and_the_routes_agree() {
    let server = Server::start("").await;
    let (status, body) = server.ask("GET", "/openapi.json").await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&body).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if path == "/v1/events" && method == "GET" {
                // Its answer has no end; `events_are_followed` asks for it.
                documented.insert((path.clone(), "get".to_owned()));
                continue;
            }
            let (status, body) = server.ask(method, &path.replace("{name}", "none")).await;
            let known = operations.get(method.to_lowercase()).is_some();
            if known {
                documented.insert((path.clone(), method.to_lowercase()));
                assert_ne!(status, 405, "{method} {path}");
                assert!(!body.contains("no such path"), "{method} {path}: {body}");
            } else {
                assert_eq!(status, 405, "{method} {path}: {body}");
            }
        }
    }
    let table: BTreeSet<_> = ROUTES
        .iter()
        .map(|row| (row.path.to_owned(), row.verb.name().to_owned()))
        .collect();
    assert_eq!(documented, table);
    assert_eq!(server.ask("GET", "/v1/nothing").await.0, 404);
    every_reference_resolves(&document, &document);
    server.stop().await;
}

fn every_reference_resolves(value: &Value, document: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            object
                .values()
                .for_each(|value| every_reference_resolves(value, document));
        }
        Value::Array(items) => {
            items
                .iter()
                .for_each(|value| every_reference_resolves(value, document));
        }
        _ => {}
    }
}

#[tokio::test]
async fn answers_have_the_documented_members() {
    let server = Server::start("").await;
    let (_, body) = server.ask("GET", "/openapi.json").await;
    let document: Value = serde_json::from_str(&body).unwrap();
    for path in ["/v1/status", "/v1/drops", "/v1/program"] {
        let (status, body) = server.ask("GET", path).await;
        assert_eq!(status, 200, "{path}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let pointer = format!(
            "/paths/{}/get/responses/200/content/application~1json/schema/$ref",
            path.replace('/', "~1")
        );
        let reference = document.pointer(&pointer).and_then(Value::as_str).unwrap();
        let schema = document.pointer(&reference[1..]).unwrap();
        let documented: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(
            answer.as_object().unwrap().keys().collect::<BTreeSet<_>>(),
            documented
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_change_makes_a_generation_and_a_listing_does_not() {
    let server = Server::start("").await;
    let client = server.client();
    let answer = client
        .post::<_, NftAnswer>("/v1/nft", &command("add table inet t"))
        .await
        .unwrap();
    assert!(answer.body.changed);
    assert_eq!((answer.body.generation, answer.generation), (1, Some(1)));
    let answer = client
        .post::<_, NftAnswer>("/v1/nft", &command("list ruleset"))
        .await
        .unwrap();
    assert!(!answer.body.changed);
    assert_eq!(answer.body.output, "table inet t {\n}\n");
    assert_eq!(answer.generation, Some(1));
    let status: Status = client.get("/v1/status").await.unwrap().body;
    assert_eq!((status.generation, status.ruleset.tables), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_passed_generation_is_a_conflict_and_changes_nothing() {
    let server = Server::start("").await;
    let field = r#"{"text":"add table inet t","generation":7}"#;
    for (headers, body) in [("If-Match: \"7\"\r\n", ADD_TABLE), ("", field)] {
        let (status, body) = server.post("/v1/nft", headers, body).await;
        assert_eq!(status, 409, "{body}");
        let failure: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(failure["generation"], 0);
    }
    let (status, _) = server
        .post("/v1/nft", "If-Match: \"0\"\r\n", ADD_TABLE)
        .await;
    assert_eq!(status, 200);
    let (status, _) = server
        .post("/v1/nft", "If-Match: \"0\"\r\n", ADD_TABLE)
        .await;
    assert_eq!(status, 409);
    let client = server.client().expecting(0);
    match client.delete::<Value>("/v1/ports/x").await {
        Err(ClientError::Refused { status, .. }) => assert_eq!(status, 409),
        other => panic!("{other:?}"),
    }
    for headers in ["If-Match: \"x\"\r\n", "If-Match: \"1\"\r\n"] {
        let (status, body) = server.post("/v1/nft", headers, field).await;
        assert_eq!(status, 400, "unreadable, and contradicting: {body}");
    }
    let (_, body) = server
        .post("/v1/nft", "", r#"{"text":"list tables"}"#)
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["generation"],
        1
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refused_text_says_where_and_changes_nothing() {
    let server = Server::start("").await;
    let (status, body) = server
        .post("/v1/nft", "", r#"{"text":"add tabel inet t"}"#)
        .await;
    assert_eq!(status, 422);
    let failure: Value = serde_json::from_str(&body).unwrap();
    let error = failure["error"].as_str().unwrap();
    assert!(
        error.contains("Error: syntax error") && error.contains("^"),
        "{error}"
    );
    assert_eq!(failure["diagnostics"][0]["line"], 1);
    assert_eq!(failure["diagnostics"][0]["column"], 11);
    for options in ["json", "optimize", "reverse_dns"] {
        let body = format!(r#"{{"text":"list ruleset","options":{{"{options}":true}}}}"#);
        let (status, body) = server.post("/v1/nft", "", &body).await;
        assert_eq!(status, 422, "refused by name, not ignored");
        assert!(body.contains("does not support"), "{body}");
    }
    assert_eq!(
        server
            .client()
            .get::<Status>("/v1/status")
            .await
            .unwrap()
            .body
            .generation,
        0
    );
    server.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_refused_in_words() {
    let server = Server::start("").await;
    for (body, words) in [
        ("{", "EOF"),
        (
            r#"{"text":"list ruleset","colour":1}"#,
            "unknown field `colour`",
        ),
        (r#"{}"#, "expected either text or file"),
        (
            r#"{"text":"list ruleset","file":"x"}"#,
            "expected either text or file",
        ),
    ] {
        let (status, answer) = server.post("/v1/nft", "", body).await;
        assert!((400..500).contains(&status), "{body}: {status}");
        assert!(answer.contains(words), "{body}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_file_fits_and_includes_come_along() {
    let server = Server::start("").await;
    let filler = "# nothing\n".repeat(400_000);
    let body = serde_json::json!({
        "file": "main.nft",
        "files": {
            "main.nft": { "text": format!("{filler}include \"./more.nft\"\n") },
            "./more.nft": { "text": "add table inet included\n" },
        },
        "globs": { "./more.nft": ["./more.nft"] },
    });
    let (status, body) = server.post("/v1/nft", "", &body.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let (_, body) = server
        .post("/v1/nft", "", r#"{"text":"list tables"}"#)
        .await;
    let answer: NftAnswer = serde_json::from_str(&body).unwrap();
    assert_eq!(answer.output, "table inet included\n");
    server.stop().await;
}

#[tokio::test]
async fn who_may_only_read_lists_and_does_not_change() {
    let server = Server::start("[control]\nchange = [\"nobody\"]\n").await;
    let (status, _) = server
        .post("/v1/nft", "", r#"{"text":"list ruleset"}"#)
        .await;
    assert_eq!(status, 200);
    let (status, body) = server.post("/v1/nft", "", ADD_TABLE).await;
    assert_eq!(status, 403, "{body}");
    let checked = r#"{"text":"add table inet t","check":true}"#;
    assert_eq!(
        server.post("/v1/nft", "", checked).await.0,
        200,
        "a check changes nothing"
    );
    let port = r#"{"device":"eth0","peer":"eth1"}"#;
    assert_eq!(server.post("/v1/ports", "", port).await.0, 403);
    assert_eq!(server.ask("DELETE", "/v1/ports/x").await.0, 403);
    assert_eq!(
        server
            .client()
            .get::<Status>("/v1/status")
            .await
            .unwrap()
            .body
            .generation,
        0
    );
    server.stop().await;
}

#[tokio::test]
async fn who_may_not_read_gets_nothing() {
    let server = Server::start("[control]\nchange = [\"nobody\"]\nread = [\"nobody\"]\n").await;
    for route in ROUTES.iter().filter(|route| route.verb.name() == "get") {
        let (status, body) = server.ask("GET", route.path).await;
        assert_eq!(status, 403, "{}: {body}", route.path);
    }
    assert_eq!(
        server
            .post("/v1/nft", "", r#"{"text":"list ruleset"}"#)
            .await
            .0,
        403
    );
    server.stop().await;
}

#[tokio::test]
async fn events_are_followed() {
    let server = Server::start("").await;
    let (client, other) = (server.client(), server.client());
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let follower = tokio::spawn(async move {
        client
            .follow("/v1/events?kind=change,worker_restart", |line| {
                sender.send(line.to_owned()).unwrap();
                Ok(true)
            })
            .await
    });
    // The follower's request races with ours: repeat the first event until it is heard.
    let restart = Happening::WorkerRestart {
        worker: 3,
        message: "x".into(),
    };
    let first = loop {
        server.hub.say(Happening::Port {
            name: "unwanted".into(),
            present: true,
        });
        server.hub.say(restart.clone());
        if let Ok(line) = tokio::time::timeout(Duration::from_millis(50), lines.recv()).await {
            break line.unwrap();
        }
    };
    assert_eq!(serde_json::from_str::<Event>(&first).unwrap().what, restart);
    other
        .post::<_, NftAnswer>("/v1/nft", &command("add table inet t"))
        .await
        .unwrap();
    let change = loop {
        let event: Event = serde_json::from_str(&lines.recv().await.unwrap()).unwrap();
        if event.what != restart {
            break event.what;
        }
    };
    let Happening::Change {
        generation: 1,
        changes,
        ..
    } = change
    else {
        panic!("{change:?}")
    };
    assert_eq!(changes, ["add table inet t"]);
    let (status, body) = server.ask("GET", "/v1/events?kind=weather").await;
    assert_eq!(status, 400);
    assert!(
        body.contains("worker_restart"),
        "says which there are: {body}"
    );
    // An endless answer must not hold up the end.
    let stopped = std::time::Instant::now();
    server.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(3));
    follower.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_workbench_has_no_ports() {
    let server = Server::start("").await;
    let (status, body) = server
        .post("/v1/ports", "", r#"{"device":"a","peer":"b"}"#)
        .await;
    assert_eq!(status, 422);
    assert!(body.contains("workbench"), "{body}");
    assert_eq!(server.ask("DELETE", "/v1/ports/a").await.0, 404);
    assert_eq!(server.ask("GET", "/v1/ports").await.1, "[]");
    server.stop().await;
}
