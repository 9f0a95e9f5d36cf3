//! `/metrics`: the figures as Prometheus text or OpenMetrics.

mod accept;
mod openmetrics;
#[cfg(feature = "prometheus")]
mod recorder;

use std::{fmt, sync::Arc};

use http::HeaderMap;
use plimsoll_core::Plimsoll;

use crate::reply::{self, Reply};

/// The text of a recorder that the program has installed.
pub(crate) type CustomText = dyn Fn() -> String + Send + Sync;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the text comes from.
pub(crate) enum MetricsText {
    Custom(Arc<CustomText>),
    #[cfg(feature = "prometheus")]
    Own(Arc<recorder::OwnRecorder>),
    #[cfg(not(feature = "prometheus"))]
    Nowhere,
}

impl MetricsText {
    #[cfg(feature = "prometheus")]
    pub(crate) fn new(custom: Option<Arc<CustomText>>, plimsoll: &Plimsoll) -> Self {
        match custom {
            Some(custom) => Self::Custom(custom),
            None => Self::Own(recorder::OwnRecorder::start(plimsoll)),
        }
    }

    #[cfg(not(feature = "prometheus"))]
    pub(crate) fn new(custom: Option<Arc<CustomText>>, _: &Plimsoll) -> Self {
        custom.map_or(Self::Nowhere, Self::Custom)
    }

    pub(crate) fn show(&self, headers: &HeaderMap) -> Reply {
        let text = match self {
            Self::Custom(text) => text(),
            #[cfg(feature = "prometheus")]
            Self::Own(recorder) => recorder.render(),
            #[cfg(not(feature = "prometheus"))]
            Self::Nowhere => {
                return Err(crate::problem::Problem::not_found(
                    "this server was built without metrics: turn on the feature prometheus of \
                     plimsoll-monitor, or give MonitorRouteLayer a metrics_text",
                ));
            }
        };
        if accept::prefers_openmetrics(headers)
            && let Some(text) = openmetrics::from_prometheus(&text)
        {
            return Ok(reply::text(OPENMETRICS, text));
        }
        Ok(reply::text(PROMETHEUS, text))
    }
}

impl fmt::Debug for MetricsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom(_) => "Custom",
            #[cfg(feature = "prometheus")]
            Self::Own(_) => "Own",
            #[cfg(not(feature = "prometheus"))]
            Self::Nowhere => "Nowhere",
        })
    }
}
