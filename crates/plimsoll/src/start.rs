use plimsoll_core::{Plimsoll, PlimsollBuilder, StartError};
use plimsoll_sources::SystemSource;

/// Starts on the readings and the allocator of this system.
///
/// In the [prelude](crate::prelude), so that `Plimsoll::builder().start()` finds it.
pub trait Start {
    /// Starts the sampler and the worker thread, with the heap figures and the release of the
    /// program's allocator, and with its attribution where it is installed.
    ///
    /// With the feature `alerts`, alerts go to the URLs that the environment names, if the builder
    /// was told to read it; without the feature a warning says that they do not.
    ///
    /// # Errors
    /// As [`PlimsollBuilder::start_with`], when neither the process nor a cgroup can be read, and
    /// for an alert URL that cannot be used: the variable and the accepted forms, no part of it.
    fn start(self) -> Result<Plimsoll, StartError>;
}

impl Start for PlimsollBuilder {
    fn start(self) -> Result<Plimsoll, StartError> {
        let source = SystemSource::detect()?;
        let mut builder = self;
        for backend in plimsoll_alloc::program_backends() {
            builder = builder.release_backend(backend);
        }
        if let Some(heap) = plimsoll_alloc::program_heap() {
            builder = builder.default_heap_source(heap);
        }
        if let Some(meter) = plimsoll_alloc::attribution() {
            builder = builder.default_allocation_meter(meter);
        }
        with_env_sinks(builder)?.start_with(source)
    }
}

/// Adds the sinks of `ALERT_WEBHOOK_URL` and `ALERT_SLACK_URL`.
#[cfg(feature = "alerts")]
fn with_env_sinks(builder: PlimsollBuilder) -> Result<PlimsollBuilder, StartError> {
    let sinks = plimsoll_alerts::EnvSinks::of(builder.settings()).map_err(|error| {
        StartError::Variable { variable: error.variable(), message: error.message() }
    })?;
    let mut builder = builder;
    if let Some(webhook) = sinks.webhook {
        builder = builder.alert_sink(webhook);
    }
    if let Some(slack) = sinks.slack {
        builder = builder.alert_sink(slack);
    }
    Ok(builder)
}

/// What the operator has set and this program cannot do must not pass in silence.
#[cfg(not(feature = "alerts"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn with_env_sinks(builder: PlimsollBuilder) -> Result<PlimsollBuilder, StartError> {
    let settings = builder.settings();
    let set = [
        ("ALERT_WEBHOOK_URL", settings.alert_webhook_url.is_some()),
        ("ALERT_SLACK_URL", settings.alert_slack_url.is_some()),
    ];
    let unused = set.into_iter().filter(|(_, is_set)| *is_set);
    Ok(unused.fold(builder, |builder, (variable, _)| {
        builder.warn_at_start(format!(
            "{variable} is set, but this program was built without the feature alerts of \
             plimsoll: alerts go to the log only"
        ))
    }))
}

#[cfg(test)]
mod tests {
    use plimsoll_core::env::EnvSettings;

    use super::*;

    fn builder(vars: &[(&str, &str)]) -> PlimsollBuilder {
        let vars = vars.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Plimsoll::builder().env_settings(EnvSettings::from_vars(vars).expect("by their looks"))
    }

    #[cfg(feature = "alerts")]
    #[tokio::test]
    async fn the_urls_of_the_environment_are_sinks_and_a_bad_one_stops_the_start() {
        let plimsoll = builder(&[
            ("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/s3cret"),
            ("ALERT_SLACK_URL", "http://127.0.0.1:9/s3cret"),
        ]);
        let plimsoll = plimsoll.start().expect("starts");
        let names: Vec<_> = plimsoll.alerts().sinks().stats().into_iter().map(|s| s.0).collect();
        assert_eq!(names, ["webhook", "slack"]);
        assert!(!format!("{:?} {:?}", plimsoll.alerts(), plimsoll.settings()).contains("s3cret"));
        plimsoll.shutdown().await;

        let refused = builder(&[("ALERT_SLACK_URL", "http://s3cret:99999/")]).start();
        let told = refused.expect_err("no such port").to_string();
        assert!(told.starts_with("ALERT_SLACK_URL: the URL <redacted> names a port"), "{told}");
        assert!(told.contains("accepted is http://HOST") && !told.contains("s3cret"), "{told}");
    }

    #[cfg(not(feature = "alerts"))]
    #[test]
    fn urls_that_this_build_cannot_use_are_warned_about() {
        let builder = with_env_sinks(builder(&[("ALERT_SLACK_URL", "http://127.0.0.1:9/s3cret")]));
        let warnings = &builder.expect("goes on").settings().warnings.clone();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("ALERT_SLACK_URL is set, but"), "{warnings:?}");
        assert!(warnings[0].contains("feature alerts") && !warnings[0].contains("s3cret"));
    }

    #[tokio::test]
    async fn without_a_counting_allocator_there_is_no_meter() {
        let plimsoll = Plimsoll::builder().start().expect("starts");
        assert!(plimsoll.allocation_meter().is_none());
        plimsoll.shutdown().await;
    }
}
