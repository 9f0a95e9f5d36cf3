//! From a request to its answer: route, method, access, origin, type, size, JSON, action.

use std::error::Error;

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;

use crate::{
    body::Answer,
    monitoring::Monitoring,
    paths::{Route, unknown_path},
    post,
    probes::Probes,
    problem::Problem,
    reply::{self, Reply},
    routes,
};

/// Answers a request for one of our routes.
pub(crate) async fn answer<B>(
    monitoring: &'static Monitoring,
    route: Route,
    request: Request<B>,
) -> Response<Answer>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let answer = match admit(monitoring, &route, &head, body).await {
        Ok(body) => dispatch(monitoring, route, &head, &body).await,
        Err(problem) => Err(problem),
    };
    let response = answer.unwrap_or_else(|problem| problem.into_response(head.uri.path()));
    reply::finish(response, &head.method)
}

/// Judges the request and reads its body, if it may have one.
async fn admit<B>(
    monitoring: &Monitoring,
    route: &Route,
    head: &Parts,
    body: B,
) -> Result<Bytes, Problem>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    route.check_method(&head.method)?;
    if let Some(scope) = route.scope(&head.method) {
        monitoring.admit(scope, head)?;
    }
    if head.method == Method::POST { post::read(head, body).await } else { Ok(Bytes::new()) }
}

async fn dispatch(
    monitoring: &'static Monitoring,
    route: Route,
    head: &Parts,
    body: &[u8],
) -> Reply {
    let plimsoll = &monitoring.plimsoll;
    match route {
        Route::Memory if head.method == Method::POST => {
            routes::memory::act(monitoring, head, body).await
        }
        Route::Memory => routes::memory::report(monitoring).await,
        Route::Aggressive => routes::aggressive::act(plimsoll, head, body).await,
        Route::History => routes::history::show(plimsoll, &head.uri),
        Route::Alerts => routes::alerts::show(plimsoll),
        Route::ResolveAlert(id) => routes::alerts::resolve(plimsoll, &id),
        Route::SilenceAlert => routes::alerts::silence(plimsoll, body),
        Route::TestAlerts => routes::alerts::test(plimsoll).await,
        Route::Routes => routes::tables::routes(plimsoll),
        Route::Pruners => routes::tables::pruners(plimsoll),
        Route::Sockets => routes::sockets::show(plimsoll),
        Route::Stream => routes::stream::open(monitoring, head).await,
        Route::OpenApi => routes::openapi::document(&monitoring.paths),
        Route::Metrics => monitoring.metrics.show(&head.headers),
        Route::Livez => Ok(Probes::livez(plimsoll)),
        Route::Readyz => monitoring.probes.readyz(plimsoll, &head.uri),
        Route::DashboardRedirect => Ok(routes::page::redirect(&head.uri)),
        Route::Dashboard => Ok(routes::page::show(&monitoring.paths, &head.headers)),
        Route::DashboardFile(file) => Ok(routes::page::file(file, &head.headers)),
        Route::Unknown => Err(unknown_path()),
    }
}
