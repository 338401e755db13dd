//! `GET /v1/models`: what is on sale.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use schemas::catalogue::Model;
use schemas::usage::Price;
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;

#[derive(Serialize)]
pub(crate) struct List {
    object: &'static str,
    data: Vec<Item>,
}

/// `OpenAI`'s model object, with what a buyer wants to know.
#[derive(Serialize)]
pub(crate) struct Item {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    context_tokens: u64,
    max_output_tokens: u64,
    /// USD per 1,000,000 tokens.
    price: Price,
}

impl Item {
    fn new(model: &Model) -> Self {
        Self {
            id: model.id.clone(),
            object: "model",
            created: 0,
            owned_by: "modelhub",
            context_tokens: model.context_tokens,
            max_output_tokens: model.max_output_tokens,
            price: model.price,
        }
    }
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<List> {
    Json(List { object: "list", data: app.catalogue.models.values().map(Item::new).collect() })
}

/// An id may have slashes (`vendor/model`). One that is no UTF-8 is no model's.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Item>, ApiError> {
    let Path(id) = id.map_err(|rejection| ApiError::model_not_found(&rejection.body_text()))?;
    let model = app.catalogue.models.get(&id).ok_or_else(|| ApiError::model_not_found(&id))?;
    Ok(Json(Item::new(model)))
}
