//! The OpenAPI description, made from the table of routes.

use super::routes;
use axum::Json;
use serde_json::{Map, Value, json};

/// `GET /api/v1/openapi.json`.
pub async fn describe() -> Json<Value> {
    Json(document())
}

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let mut parameters: Vec<Value> = route
            .query
            .iter()
            .map(|(name, doc)| json!({ "name": name, "in": "query", "description": doc, "schema": { "type": "string" } }))
            .collect();
        for name in route.path.split('{').skip(1).filter_map(|p| p.split('}').next()) {
            let schema = json!({ "type": "string" });
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
        let content = |types: &[&str]| -> Map<String, Value> {
            types.iter().map(|t| ((*t).to_owned(), json!({}))).collect()
        };
        let role = route.role.map(|r| format!("{r:?}").to_lowercase());
        let mut operation = json!({
            "summary": route.summary,
            "description": format!("role: {}", role.as_deref().unwrap_or("anybody")),
            "parameters": parameters,
            "responses": {
                "200": { "description": "done", "content": content(route.answer) },
                "default": { "description": "an error: { \"error\": \"what is wrong and what to do\" }", "content": content(&["application/json"]) },
            },
        });
        if role.is_some() {
            operation["security"] = json!([{ "bearer": [] }, { "cookie": [] }]);
        }
        if !route.body.is_empty() {
            operation["requestBody"] = json!({ "required": true, "content": content(route.body) });
        }
        let item = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        item[route.method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "firedamp", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "paths": paths,
        "components": { "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer" },
            "cookie": { "type": "apiKey", "in": "cookie", "name": "firedamp" },
        } },
    })
}
