//! The OpenAPI document, made from the table of routes and the wire types.

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Form, ROUTES, Route};
use super::wire::Failure;

/// `GET /openapi.json`
pub async fn serve() -> Json<Value> {
    Json(document())
}

/// The document.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.verb.name().to_owned(), operation);
        }
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sluice control API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{
            "url": "http://sluice",
            "description": "HTTP/1.1 over the Unix socket of the daemon",
        }],
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let failure = generator.subschema_for::<Failure>();
    let refused = |about: &str| json!({ "description": about, "content": { "application/json": { "schema": failure } } });
    let answer = match route.answer {
        Form::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Form::Lines(schema) => json!({ "application/x-ndjson": { "schema": schema(generator) } }),
        Form::Bytes(media) => {
            json!({ media: { "schema": { "type": "string", "format": "binary" } } })
        }
    };
    let mut parameters: Vec<Value> = route
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.place == "path",
                "description": parameter.about,
                "schema": { "type": "string" },
            })
        })
        .collect();
    let mut responses = json!({
        "200": {
            "description": "done",
            "headers": { "ETag": { "description": "the generation in force", "schema": { "type": "string" } } },
            "content": answer,
        },
        "403": refused("the peer does not hold the right"),
        "default": refused("refused; nothing has changed"),
    });
    if route.conditional {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": false,
            "description": "the generation that the change expects, in quotes",
            "schema": { "type": "string" },
        }));
        responses["409"] = refused("another generation is in force");
    }
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "x-right": route.right.to_string(),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(schema) = route.request {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(generator) } },
        });
    }
    operation
}
